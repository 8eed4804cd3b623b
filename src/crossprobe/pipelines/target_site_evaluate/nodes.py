"""The target's second half: what it fetches and reports."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crossprobe.pipelines.exchange import ExchangeSettings


def fetch_models(
    settings: ExchangeSettings, split: dict[str, Any], names: tuple[str, ...]
) -> tuple[Any, ...]:
    """Takes the source's segmenters and their temperatures, if the two sites share no patient.

    Returns:
        What came, the checkpoints in the order of their names, and the calibrations.
    """
    from crossprobe.pipelines.exchange import fetch, refuse_shared_patients

    models, note = fetch(settings, "models", names, "source_site")
    mine = [patient for part in split["parts"].values() for patient in part]
    refuse_shared_patients("target", mine, "source", note)
    received = {key: note[key] for key in ("run", "encoders", "split_hash", "manifest_hash", "scores")}
    return received, *(models[name] for name in names), *(note["calibration"][name] for name in names)


def summarise(
    settings: ExchangeSettings, received: dict[str, Any], split: dict[str, Any], *scores: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Puts the target's scores beside the source's and hands the means over."""
    from crossprobe.pipelines.exchange import publish
    from crossprobe.pipelines.source_site.nodes import mean_scores

    own = mean_scores(list(scores))
    note = {"site": "target", "models": received["run"], "split_hash": split["hash"], "scores": own}
    return pd.DataFrame([*received["scores"], *own]), publish(settings, "scores", {}, note)
