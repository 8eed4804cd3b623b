"""Tables of ablations: the arms of one question side by side, with what a paper claims for each."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.evaluation.claimed import CITATION
from crossprobe.reporting.blocks import Block, Cell, Paragraph, Row, Section, Table
from crossprobe.reporting.style import metric_label
from crossprobe.reporting.wording import MISSING, UNMEASURED, number, with_interval

SHOWN = ("dsc", "iou")
Figures = Mapping[tuple[str, str], Mapping[Hashable, Any]]


class AblationTable(BaseModel):
    """One question and the arms that answer it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(description="The question, as the table's caption")
    arms: dict[str, str] = Field(min_length=1, description="Arm by the label of its row")
    claimed: dict[str, float] = Field(
        default_factory=dict, description="Claimed target DSC by the label of a row, where a paper has one"
    )


def ablation_section(
    arms: pd.DataFrame, tables: Sequence[AblationTable], left_out: Collection[str] = ()
) -> Section:
    """Sets the arms of each question side by side on the target.

    Args:
        arms: From `arms_table`.
        tables: The questions.
        left_out: Arms that were not trained; they have no row.

    Returns:
        The section; it has no table where the target has no test labels.

    Raises:
        KeyError: If a table names another arm that was not scored.
    """
    if "target" not in set(arms["site"]):
        return Section("ablations", "Ablations", (Paragraph(UNMEASURED, "warning"),))
    records = arms[arms["site"] == "target"].to_dict("records")
    target = {(str(row["arm"]), str(row["metric"])): row for row in records}
    blocks: list[Block] = [_table(target, table, left_out) for table in tables]
    if any(table.claimed for table in tables):
        note = (
            f"Claimed: {CITATION}; frame gaps there count frames of another frame rate, and the gap and "
            "temperature were chosen on the target test set."
        )
        blocks.append(Paragraph(note, "note"))
    return Section("ablations", "Ablations", tuple(blocks))


def _table(target: Figures, table: AblationTable, left_out: Collection[str]) -> Table:
    shown = {label: arm for label, arm in table.arms.items() if arm not in left_out}
    best = max((target[arm, "dsc"]["mean"] for arm in shown.values()), default=float("nan"))
    rows = [Row(label, _cells(target, arm, table.claimed.get(label), best)) for label, arm in shown.items()]
    columns = (*(metric_label(metric) for metric in SHOWN), "DSC less source only", "claimed DSC", "n")
    return Table(table.title, "", columns, tuple(rows))


def _cells(target: Figures, arm: str, claimed: float | None, best: float) -> tuple[Cell, ...]:
    shown = []
    for metric in SHOWN:
        row = target[arm, metric]
        strong = metric == "dsc" and row["mean"] == best
        shown.append(Cell(with_interval(row["mean"], row["low"], row["high"], metric), strong=strong))
    row = target[arm, "dsc"]
    difference: str = MISSING if pd.isna(row["baseline_difference"]) else with_interval(
        row["baseline_difference"], row["baseline_low"], row["baseline_high"], sign=True
    )  # fmt: skip
    claim = MISSING if claimed is None else number(claimed)
    return (*shown, Cell(difference), Cell(claim), Cell(str(int(row["n_patients"]))))
