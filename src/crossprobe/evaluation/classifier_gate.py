"""Whether a new classifier may replace the one in use: on source patients whom neither has learned from.

As for segmenters (`promotion_gate`), a difference counts with its interval, a bootstrap over paired patients,
and labels of the target are no evidence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.evaluation.class_metrics import predictive_entropy
from crossprobe.evaluation.classification import PLAIN, prediction_table, score_table
from crossprobe.evaluation.comparison_settings import StatisticsSettings
from crossprobe.evaluation.promotion_gate import Check

CANDIDATE, CHAMPION = "candidate", "champion"
FIGURES = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


class ClassifierGateSettings(BaseModel):
    """What a classifier must show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_balanced_accuracy: float = Field(
        0.6, ge=0, le=1, description="Balanced accuracy on held-out source patients"
    )
    above_chance: bool = Field(
        True, description="Its whole interval must lie above chance, which is 1 by the number of classes"
    )
    source_margin: float = Field(
        0.05, ge=0, description="Loss of balanced accuracy or AUROC that is let pass, interval and all"
    )
    latency_budget_ms: float = Field(1000, gt=0, description="Median time for one frame on this machine")
    largest_reload_difference: float = Field(
        1e-4, ge=0, description="Probability by which the reloaded model may differ from the trained one"
    )
    least_patients: int = Field(10, ge=1, description="Patients below which nothing is compared")
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)


class ClassifierEvidence(NamedTuple):
    """What is known of a candidate.

    Attributes:
        source: Figures of `compare_on_source`.
        chance: Balanced accuracy of guessing.
        latency_ms: Median time for one frame.
        reload_difference: Largest difference of a probability after reloading in a fresh process.
        champion: Version compared with; None for the first model.
        obstacle: Why the champion could not be compared; empty where it was.
    """

    source: pd.DataFrame
    chance: float
    latency_ms: float
    reload_difference: float
    champion: int | None
    obstacle: str = ""


def compare_on_source(
    manifest: pd.DataFrame,
    answers: dict[str, np.ndarray],
    classes: tuple[str, ...],
    statistics: StatisticsSettings,
) -> pd.DataFrame:
    """Computes figures of candidate and champion on the same images, with intervals over patients.

    Args:
        manifest: Rows of the images.
        answers: Calibrated probabilities [N, classes] of `candidate` and, where there is one, `champion`.
        classes: Names of the classes.
        statistics: How intervals are drawn.

    Returns:
        One row a model and figure, as `score_table` gives them; differences are the candidate's less the
        champion's. Empty without images.
    """
    if not len(manifest):
        return pd.DataFrame(columns=["arm", "metric", "value", "low", "high", "n_patients"])
    tables = [
        prediction_table(model, PLAIN, manifest, values, classes, predictive_entropy(values))
        for model, values in answers.items()
    ]
    scores = score_table(pd.concat(tables, ignore_index=True), CHAMPION, statistics)
    return scores[scores["metric"].isin(FIGURES)].drop(columns="answer").reset_index(drop=True)


def judge_classifier(evidence: ClassifierEvidence, settings: ClassifierGateSettings) -> list[Check]:
    """Examines a candidate.

    Args:
        evidence: What is known of it.
        settings: What it must show.

    Returns:
        All checks; the model may be promoted if every one holds.
    """
    difference = evidence.reload_difference
    checks = [
        Check(
            "reload",
            difference <= settings.largest_reload_difference,
            f"largest difference {difference:.2g}, allowed {settings.largest_reload_difference:.2g}",
        ),
        _level(evidence, settings),
        Check(
            "latency",
            evidence.latency_ms <= settings.latency_budget_ms,
            f"{evidence.latency_ms:.1f} ms a frame, budget {settings.latency_budget_ms:.0f} ms",
        ),
    ]
    if evidence.champion is None:
        return checks
    if evidence.obstacle:
        return [*checks, Check("against the champion", False, evidence.obstacle)]
    return [*checks, *(_not_worse(metric, evidence, settings) for metric in FIGURES)]


def _level(evidence: ClassifierEvidence, settings: ClassifierGateSettings) -> Check:
    found = _row(evidence.source, "balanced_accuracy")
    if found is None:
        return Check("source level", False, "no held-out source patient")
    holds = found["value"] >= settings.least_balanced_accuracy
    wanted = f"at least {settings.least_balanced_accuracy:.2f}"
    if settings.above_chance:
        holds = holds and found["low"] > evidence.chance
        wanted += f", interval above chance ({evidence.chance:.2f})"
    area = _row(evidence.source, "auroc")
    beside = "" if area is None or np.isnan(area["value"]) else f", AUROC {_shown(area)}"
    return Check(
        "source level",
        bool(holds),
        f"balanced accuracy {_shown(found)}{beside} on {int(found['n_patients'])} held-out source patients; "
        f"{wanted}",
    )


def _not_worse(metric: str, evidence: ClassifierEvidence, settings: ClassifierGateSettings) -> Check:
    found = _row(evidence.source, metric)
    name = f"source {FIGURES[metric]} against version {evidence.champion}"
    patients = 0 if found is None else int(found["n_patients"])
    if found is None or patients < settings.least_patients:
        needed = f"{settings.least_patients} needed"
        return Check(name, False, f"{patients} patients that neither has learned from, {needed}")
    mean, low, high = (float(found[f"baseline_{part}"]) for part in ("difference", "low", "high"))
    if not np.isfinite([mean, low, high]).all():
        return Check(name, False, f"it cannot be computed on these {patients} patients: is a class missing?")
    # Equal answers differ by a hair of rounding, which is no difference.
    better = ", better" if round(low, 9) > 0 else ""
    return Check(
        name,
        round(low, 9) >= -settings.source_margin,
        f"{mean:+.4f} [{low:+.4f}, {high:+.4f}] over {patients} patients, not below "
        f"{-settings.source_margin:+.3f}{better}",
    )


def _row(table: pd.DataFrame, metric: str) -> pd.Series | None:
    rows = table[(table["arm"] == CANDIDATE) & (table["metric"] == metric)]
    return rows.iloc[0] if len(rows) else None


def _shown(row: pd.Series) -> str:
    interval = "no interval" if np.isnan(row["low"]) else f"[{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f} {interval}"
