"""What became of adversarial training, as far as it shows without target labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from crossprobe.adaptation.dann import DannSettings, collapse_warnings
from crossprobe.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

SHARE = "target_share_"
WATCHED = ("kept", "last")
COLUMNS = ["arm", "moment", "step", "domain_accuracy", "domain_loss", "cross_entropy", "accuracy", "warnings"]


def adaptation_table(
    runs: Mapping[str, tuple[Checkpoint, pd.DataFrame]], settings: DannSettings
) -> pd.DataFrame:
    """Reads every adversarial run from its first validation to its last, and warns of collapse.

    Args:
        runs: Checkpoint and history by arm.
        settings: Bounds of collapse.

    Returns:
        Four rows an arm: `arm, moment`, `step, domain_accuracy, domain_loss, cross_entropy, accuracy,
        warnings`, then `target_share_<class>`. Moments are the `first` validation, that of the `highest`
        domain accuracy, that of the `kept` weights and the `last`; collapse is looked for at the latter two.
        Figures are of held-out images: domain ones of both sites, the others of the labelled site.
    """
    rows = []
    for arm, (checkpoint, history) in runs.items():
        validated = history[history["part"] == "validation"].pivot_table(
            index="step", columns="metric", values="value"
        )
        classes = checkpoint.config["model"]["classes"]
        moments = {
            "first": validated.index.min(),
            "highest": validated["domain_accuracy"].idxmax(),
            "kept": checkpoint.provenance["best_step"],
            "last": validated.index.max(),
        }
        for moment, step in moments.items():
            figures = validated.loc[step]
            shares = {name: float(figures[SHARE + name]) for name in classes}
            found = []
            if moment in WATCHED:
                found = collapse_warnings(float(figures["domain_accuracy"]), shares, settings, classes)
            for sentence in found:
                log.warning("%s, %s weights (step %d): %s", arm, moment, step, sentence)
            row = {name: figures.get(name, float("nan")) for name in COLUMNS[3:-1]}
            row |= {"arm": arm, "moment": moment, "step": int(step), "warnings": "; ".join(found)}
            rows.append(row | {SHARE + name: share for name, share in shares.items()})
    table = pd.DataFrame(rows, columns=None if rows else COLUMNS)
    return table[[*COLUMNS, *(column for column in table.columns if column.startswith(SHARE))]]
