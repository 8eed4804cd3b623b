"""Numbers and verdicts in words, written the same way everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crossprobe.evaluation.comparison_settings import LOWER_IS_BETTER, SMALLEST_TESTABLE

Tone = Literal["better", "worse", "none", "unknown"]

MISSING = "\u2013"
UNMEASURED = "The target has no test labels: nothing here measures how well any arm works on it."
NO_ACCURACY = (
    "The order comes from agreement between arms, steadiness and certainty. It is no accuracy: arms can "
    "agree, steadily and surely, on what is wrong."
)
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
    def unconfirmed(self) -> bool:
        """Whether a declared test, corrected for its family, does not show what the interval suggests."""
        return math.isfinite(self.p_holm) and self.p_holm >= 0.05

    @property
    def tone(self) -> Tone:
        """What is shown: the interval leaves out 0, and so does the corrected test where one was declared.

        `unknown` where there are too few patients for an interval.
        """
        if self.n_patients < 2 or not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "unknown"
        if self.low <= 0 <= self.high or self.unconfirmed:
            return "none"
        return "better" if (self.difference > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Words:
    """How a comparison is put into words."""

    above: str
    below: str
    apart: str
    seems_above: str
    seems_below: str


HELPS = Words(
    "helps here",
    "hurts here",
    "does not help here (interval covers 0)",
    "seems to help here",
    "seems to hurt here",
)
BETTER = Words("better", "worse", "no difference shown (interval covers 0)", "seems better", "seems worse")


def verdict(compared: Compared, words: Words = BETTER) -> str:
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
    if (
        not (math.isfinite(compared.low) and math.isfinite(compared.high))
        or compared.low <= 0 <= compared.high
    ):
        return words.apart + few
    above = (compared.difference > 0) != (compared.metric in LOWER_IS_BETTER)
    if few:
        return f"{words.seems_above if above else words.seems_below}{few}"
    if compared.unconfirmed:
        seems = words.seems_above if above else words.seems_below
        return f"{seems}, but the corrected test does not show it"
    return words.above if above else words.below
