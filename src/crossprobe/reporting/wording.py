"""Numbers and verdicts in words, written the same way everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crossprobe.evaluation.arms_table import LOWER_IS_BETTER
from crossprobe.evaluation.statistics import SMALLEST_TESTABLE

Tone = Literal["better", "worse", "none", "unknown"]

MISSING = "\u2013"
_MINUS = "\u2212"
SPACE = "\u00a0"


def number(value: float, metric: str = "dsc", sign: bool = False) -> str:
    """Writes a figure: three decimals for shares, two for distances in mm or px.

    Args:
        value: The figure.
        metric: What it measures.
        sign: Whether a plus is written.

    Returns:
        Text; a dash where there is no figure.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    places = 2 if metric.startswith(("hd95", "assd")) else 3
    text = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    zero = f"{0:.{places}f}"
    return zero if text.lstrip("+-") == zero else text.replace("-", _MINUS)


def interval(low: float, high: float, metric: str = "dsc", sign: bool = False) -> str:
    """Writes an interval in brackets, or nothing where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{number(low, metric, sign)},{SPACE}{number(high, metric, sign)}]"


def with_interval(mean: float, low: float, high: float, metric: str = "dsc", sign: bool = False) -> str:
    """Writes a figure followed by its interval."""
    return f"{number(mean, metric, sign)} {interval(low, high, metric, sign)}".strip()


def p_value(p: float) -> str:
    """Writes a p value: three decimals, or below which bound it lies."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_clause(p: float) -> str:
    """Writes a corrected p value as part of a sentence."""
    if p is None or not math.isfinite(p):
        return "no test declared"
    return f"Holm{SPACE}p{SPACE}<{SPACE}0.001" if p < 0.001 else f"Holm{SPACE}p{SPACE}={SPACE}{p:.3f}"


def plural(count: int, noun: str) -> str:
    """Writes a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@dataclass(frozen=True)
class Compared:
    """An arm less a reference on the same patients.

    Attributes:
        difference: Mean difference.
        low: Lower end of its interval, NaN where there is none.
        high: Upper end.
        p_holm: Corrected p, NaN where the pair was not declared.
        n_patients: Patients behind it.
        metric: What was measured.
    """

    difference: float
    low: float
    high: float
    p_holm: float
    n_patients: int
    metric: str = "dsc"

    @property
    def text(self) -> str:
        """The signed difference with its interval."""
        return with_interval(self.difference, self.low, self.high, self.metric, sign=True)

    @property
    def bracket(self) -> str:
        """The signed interval alone."""
        return interval(self.low, self.high, self.metric, sign=True)

    @property
    def identical(self) -> bool:
        """Whether the arms agree on every patient."""
        return self.difference == self.low == self.high == 0

    @property
    def tone(self) -> Tone:
        """What the interval alone says; `unknown` where there are too few patients for one."""
        if self.n_patients < 2 or not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "unknown"
        if self.low <= 0 <= self.high:
            return "none"
        return "better" if (self.difference > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


HELPS = ("helps here", "hurts here", "does not help here (interval covers 0)")
BETTER = ("better", "worse", "no difference shown (interval covers 0)")


def verdict(compared: Compared, words: tuple[str, str, str] = BETTER) -> str:
    """Says in words what a comparison shows, and no more than it shows.

    Args:
        compared: The comparison.
        words: For an arm above, below and not clearly apart from the reference: `BETTER` or `HELPS`.

    Returns:
        A clause such as "better" or "does not help here (interval covers 0)".
    """
    if compared.n_patients < 2 or not math.isfinite(compared.difference):
        return "cannot be judged on so few patients"
    if compared.identical:
        return "identical on every patient"
    count = compared.n_patients
    few = f"; {count} patients are too few for a test" if count < SMALLEST_TESTABLE else ""
    if compared.tone in ("none", "unknown"):
        return words[2] + few
    word = words[0] if compared.tone == "better" else words[1]
    if few:
        return f"{word} by its interval{few}"
    if math.isfinite(compared.p_holm) and compared.p_holm >= 0.05:
        return f"{word} by its interval, but not after correction"
    return word
