"""Writes a node's outputs into an MLflow run, by the kind that the catalog gives them."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric, RunTag
from mlflow.tracking import MlflowClient

BATCH = 1000
HASH_KEYS = ("hash", "fingerprint", "manifest_hash")


def record(
    client: MlflowClient, parent: str, run: str, kind: str, name: str, value: Any, *, whole: bool = True
) -> None:
    """Records one output.

    Args:
        client: MLflow client.
        parent: Run of the whole job.
        run: Nested run of the stage.
        kind: `history` (long table of step, part, metric, value), `scores` (long table with metric and
            value, logged as means over patients), `headline` (patient-level metrics, also logged on the
            parent), `table`, `figure`, `page`, `hashes` (anything that carries hashes of data), or `facts`
            (a flat dictionary: numbers become metrics, words become tags, on the parent too).
        name: Data set name; becomes the artifact's name.
        value: The output.
        whole: Whether the output itself may be kept. If not, only means, curves, hashes, counts and facts of
            it are, for the rows of a table, the points of a figure and the lists of a split are patients.

    Raises:
        ValueError: If the kind is not one of these.
    """
    writers = {
        "history": _history,
        "scores": _scores,
        "headline": _headline,
        "table": _table,
        "figure": _figure,
        "page": _page,
        "hashes": _hashes,
        "facts": _facts,
    }
    if kind not in writers:
        raise ValueError(
            f"catalog entry {name}: metadata.track is '{kind}', expected one of {sorted(writers)}"
        )
    if whole or kind not in ("figure", "page"):
        writers[kind](client, parent, run, name, value)
    if whole and kind in ("table", "scores", "headline"):
        client.log_text(run, value.to_csv(index=False), f"tables/{name}.csv")
    if whole and kind == "hashes" and isinstance(value, dict):
        client.log_text(run, json.dumps(value, indent=2, default=str), f"{name}.json")


def _history(client: MlflowClient, parent: str, run: str, name: str, value: pd.DataFrame) -> None:
    now = _now()
    rows = zip(
        value["part"], value["metric"], value["value"].astype(float), value["step"].astype(int), strict=True
    )
    metrics = [
        Metric(f"{part}/{metric}", figure, now, step)
        for part, metric, figure, step in rows
        if math.isfinite(figure)
    ]
    _log_metrics(client, run, metrics)


def _scores(client: MlflowClient, parent: str, run: str, name: str, value: pd.DataFrame) -> None:
    from crossprobe.evaluation.aggregate import patient_scores, table_means

    means = table_means(patient_scores(value))[["site", "arm", "metric", "mean"]].dropna()
    _log_means(client, run, means)


def _headline(client: MlflowClient, parent: str, run: str, name: str, value: pd.DataFrame) -> None:
    means = value.groupby(["site", "arm", "metric"])["value"].mean().dropna()
    _log_means(client, parent, means.reset_index())


def _log_means(client: MlflowClient, run: str, means: pd.DataFrame) -> None:
    """Logs columns site, arm, metric and mean as metrics, together: each request takes its time."""
    now = _now()
    metrics = [
        Metric(f"{site}/{arm}/{metric}", mean, now, 0)
        for site, arm, metric, mean in means.itertuples(index=False, name=None)
    ]
    _log_metrics(client, run, metrics)


def _log_metrics(client: MlflowClient, run: str, metrics: list[Metric]) -> None:
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])


def _now() -> int:
    return int(pd.Timestamp.now().timestamp() * 1000)


def _table(client: MlflowClient, parent: str, run: str, name: str, value: pd.DataFrame) -> None:
    client.log_metric(run, f"rows/{name}", len(value))


def _figure(client: MlflowClient, parent: str, run: str, name: str, value: Any) -> None:
    if value is None:
        return
    from crossprobe.reporting.style import png_bytes

    figures = value if isinstance(value, dict) else {f"{name}.png": value}
    with tempfile.TemporaryDirectory() as folder:
        for file, figure in figures.items():
            picture = Path(folder) / file
            picture.write_bytes(png_bytes(figure))
            client.log_artifact(run, str(picture), "figures")


def _page(client: MlflowClient, parent: str, run: str, name: str, value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / f"{name.rsplit('.', 1)[-1]}.html"
        page.write_text(value, encoding="utf-8")
        client.log_artifact(parent, str(page))


def _hashes(client: MlflowClient, parent: str, run: str, name: str, value: Any) -> None:
    found = {key: _read(value, key) for key in HASH_KEYS}
    tags = [RunTag(f"{name}.{key}", str(content)) for key, content in found.items() if content is not None]
    for target in {run, parent}:
        client.log_batch(target, tags=tags)


def _facts(client: MlflowClient, parent: str, run: str, name: str, value: dict[str, Any]) -> None:
    now = _now()
    numbers = {key: item for key, item in value.items() if isinstance(item, (int, float))}
    metrics = [Metric(f"{name}/{key}", float(item), now, 0) for key, item in numbers.items()]
    tags = [
        RunTag(f"{name}.{key}", str(item)) for key, item in value.items() if isinstance(item, (str, bool))
    ]
    for target in {run, parent}:
        client.log_batch(target, metrics=metrics, tags=tags)


def _read(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else getattr(value, key, None)
