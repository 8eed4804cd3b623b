"""What adversarial training did, in sentences: for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from crossprobe.reporting.style import arm_label, metric_label
from crossprobe.reporting.wording import Compared, number, plural

METRIC = "balanced_accuracy"


def adaptation_sentences(
    adaptation: pd.DataFrame, arms: pd.DataFrame, baseline: str | None, zero_shift: bool
) -> list[str]:
    """Says for every adversarial arm how domain and source accuracy went, and what came of it.

    Args:
        adaptation: From `adaptation_table`.
        arms: From `classifier_table`.
        baseline: Arm that did not adapt.
        zero_shift: Whether the two sites do not differ, so that adaptation must not hurt.

    Returns:
        Sentences.
    """
    sentences = []
    for arm, rows in adaptation.groupby("arm", sort=False):
        sentences.append(_course(str(arm), {str(row["moment"]): row for row in rows.to_dict("records")}))
        site = "target" if "target" in set(arms["site"]) else str(arms["site"].iloc[-1])
        own = arms[(arms["arm"] == arm) & (arms["site"] == site) & (arms["metric"] == METRIC)]
        if baseline is not None and len(own):
            sentences.append(_outcome(str(arm), own.iloc[0], site, baseline, zero_shift))
    return sentences


def _course(arm: str, rows: Mapping[str, Mapping[Any, Any]]) -> str:
    """How the two figures went from the first validation to the last; rows by moment."""
    moments = [rows[moment] for moment in ("first", "highest", "last")]
    domain, source = (
        [number(float(row[name])) for row in moments] for name in ("domain_accuracy", "accuracy")
    )
    first, highest, last = (int(row["step"]) for row in moments)
    return (
        f"{arm_label(arm)}: domain accuracy on held-out images is {domain[0]} at the start (step {first}), "
        f"{domain[1]} at its highest (step {highest}) and {domain[2]} at the end (step {last}); chance is "
        "0.500. Accuracy on the source's validation images at the same steps: "
        f"{source[0]}, {source[1]}, {source[2]}."
    )


def _outcome(arm: str, row: pd.Series, site: str, baseline: str, zero_shift: bool) -> str:
    difference, low, high = (float(row[f"baseline_{part}"]) for part in ("difference", "low", "high"))
    patients = int(row["n_patients"])
    compared = Compared(difference, low, high, float("nan"), patients, METRIC)
    known = compared.tone != "unknown"
    found = {
        "none": "the interval covers 0",
        "better": "the interval lies above 0",
        "worse": "the interval lies below 0",
        "unknown": "too few patients for an interval",
    }[compared.tone]
    text = (
        f"{arm_label(arm)} less {arm_label(baseline).lower()}, {site} test: {compared.text} "
        f"{metric_label(METRIC)} ({plural(patients, 'patient')}); {found}."
    )
    if not zero_shift:
        return text
    verdict = "the adaptation hurts" if compared.tone == "worse" else "the adaptation does not hurt"
    said = verdict if known else "nothing can be said"
    return f"Zero-shift control, the two sites do not differ: {said}. {text}"
