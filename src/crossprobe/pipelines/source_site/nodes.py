"""The source's half: what it fetches and what it hands over."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.exchange import ExchangeSettings


def fetch_encoders(
    settings: ExchangeSettings, split: dict[str, Any], names: tuple[str, ...]
) -> tuple[Any, ...]:
    """Takes the target's encoders, if the two sites share no patient.

    Returns:
        What came, and the encoders in the order of their names.
    """
    from crossprobe.pipelines.exchange import fetch, refuse_shared_patients

    encoders, note = fetch(settings, "encoders", names, "target_site")
    mine = [patient for part in split["parts"].values() for patient in part]
    refuse_shared_patients("source", mine, "target", note)
    received = {key: note[key] for key in ("run", "split_hash", "manifest_hash")}
    return received, *(encoders[name] for name in names)


def publish_models(
    settings: ExchangeSettings,
    split: dict[str, Any],
    facts: dict[str, Any],
    received: dict[str, Any],
    *made: Any,
    names: tuple[str, ...],
) -> dict[str, Any]:
    """Hands over the segmenters with their temperatures and scores (checkpoints, calibrations, scores)."""
    from crossprobe.pipelines.exchange import patients_note, publish

    count = len(names)
    checkpoints: dict[str, Checkpoint] = dict(zip(names, made[:count], strict=True))
    note = {
        "site": "source",
        **patients_note("source", facts["data"], (p for part in split["parts"].values() for p in part)),
        "split_hash": split["hash"],
        "manifest_hash": facts["manifest_hash"],
        "encoders": received["run"],
        "calibration": dict(zip(names, made[count : 2 * count], strict=True)),
        "scores": mean_scores(list(made[2 * count :])),
    }
    return publish(settings, "models", checkpoints, note)


def mean_scores(scores: list[pd.DataFrame]) -> list[dict[str, Any]]:
    """Averages frames to patients and patients to one figure an arm: no row of a patient leaves the site."""
    from crossprobe.evaluation.aggregate import patient_scores, table_means

    means = table_means(patient_scores(pd.concat(scores, ignore_index=True)))
    kept = means[["arm", "site", "metric", "mean"]].dropna()
    return [{str(key): value for key, value in row.items()} for row in kept.to_dict("records")]
