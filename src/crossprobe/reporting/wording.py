"""Numbers and verdicts in words, written the same way everywhere."""

from __future__ import annotations

import math
from typing import Literal

from crossprobe.evaluation.arms_table import LOWER_IS_BETTER
from crossprobe.evaluation.statistics import SMALLEST_TESTABLE

Tone = Literal["better", "worse", "none", "unknown"]

MISSING = "\u2013"
_MINUS = "\u2212"


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
    return f"[{number(low, metric, sign)}, {number(high, metric, sign)}]"


def with_interval(mean: float, low: float, high: float, metric: str = "dsc", sign: bool = False) -> str:
    """Writes a figure followed by its interval."""
    return f"{number(mean, metric, sign)} {interval(low, high, metric, sign)}".strip()


def p_value(p: float) -> str:
    """Writes a p value: three decimals, or below which bound it lies."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "< .001" if p < 0.001 else f"{p:.3f}"


def p_clause(p: float) -> str:
    """Writes a corrected p value as part of a sentence."""
    if p is None or not math.isfinite(p):
        return "no test declared"
    return "Holm p < .001" if p < 0.001 else f"Holm p = {p:.3f}"


def plural(count: int, noun: str) -> str:
    """Writes a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def tone(difference: float, low: float, high: float, n_patients: int, metric: str = "dsc") -> Tone:
    """Judges a difference by its interval alone.

    Args:
        difference: Arm less reference.
        low: Lower end of its interval.
        high: Upper end.
        n_patients: Patients behind it.
        metric: What was measured: for distances less is better.

    Returns:
        `better` or `worse` where the interval leaves zero out, `none` where it covers it, `unknown` where
        there are too few patients to judge.
    """
    if n_patients < 2 or not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    if low <= 0 <= high:
        return "none"
    return "better" if (difference > 0) != (metric in LOWER_IS_BETTER) else "worse"


def verdict(
    difference: float, low: float, high: float, p_holm: float, n_patients: int, metric: str = "dsc"
) -> str:
    """Says in words what a comparison shows, and no more than it shows.

    Args:
        difference: Arm less reference.
        low: Lower end of its interval.
        high: Upper end.
        p_holm: Corrected p; NaN where the pair was not declared.
        n_patients: Patients behind it.
        metric: What was measured.

    Returns:
        A clause such as "helps here" or "does not help here (interval covers 0)".
    """
    if n_patients < 2 or not math.isfinite(difference):
        return "cannot be judged on so few patients"
    if difference == low == high == 0:
        return "changes nothing: identical on every patient"
    judged = tone(difference, low, high, n_patients, metric)
    few = f"; {n_patients} patients are too few for a test" if n_patients < SMALLEST_TESTABLE else ""
    if judged in ("none", "unknown"):
        return f"does not help here (interval covers 0{few})"
    word = "helps here" if judged == "better" else "hurts here"
    if few:
        return f"{word} by its interval{few}"
    if math.isfinite(p_holm) and p_holm >= 0.05:
        return f"{word} by its interval, but not after correction"
    return word
