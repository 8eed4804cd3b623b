"""The section about the luck of training: what each training seed gave."""

from __future__ import annotations

import pandas as pd

from crossprobe.evaluation.statistics import paired_differences
from crossprobe.reporting.blocks import Block, Cell, Paragraph, Row, Section, Table
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_colours, arm_label
from crossprobe.reporting.wording import number

ONE_SEED_LIMIT = (
    "One training says nothing of the next: `kedro run --pipeline=seeds` trains every arm several times."
)
_NESTED = (
    "Scores on this page are means over these trainings; intervals are those of patients and trainings "
    "drawn again together. A few trainings tell their spread only roughly: of three that differ more "
    "than patients do, a 95 % interval covers the truth in about three cases of four. A p is of "
    "patients alone, on their means over the trainings, and knows nothing of another training. A "
    "distance leaves out a patient on whom a training found nothing. Training curves are those of the "
    "first training; pictures, speed and the choice without labels stand in the report of the study "
    "whose arms are repeated."
)


def seeds_section(inputs: ReportInputs) -> Section | None:
    """Sets the trainings of every arm side by side, as `training 1` and so on.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where every arm was trained once.
    """
    if inputs.n_seeds() < 2:
        return None
    blocks: list[Block] = [Paragraph(_NESTED)]
    for site in sorted(dict.fromkeys(inputs.arms["site"]), key=lambda site: site != "target"):
        means = _means(inputs, site)
        caption = f"DSC on the {site}'s test patients by training"
        note = "Spread: standard deviation of these means. Each training has the next seed."
        blocks.append(_table(caption, inputs, means, note, signed=False))
        differences = _differences(inputs, site)
        if len(differences):
            caption = f"Difference in DSC to {arm_label(inputs.roles.baseline)} of the same training, {site}"
            blocks.append(_table(caption, inputs, differences, "", signed=True))
    return Section("seeds", "Training seeds", tuple(blocks))


def _means(inputs: ReportInputs, site: str) -> pd.DataFrame:
    """Means over patients, arms down and seeds across."""
    patients = inputs.patients
    here = patients[(patients["site"] == site) & (patients["metric"] == "dsc")]
    each = here.groupby(["arm", "seed", "patient"], observed=True)["value"].mean().reset_index()
    return each.pivot_table(index="arm", columns="seed", values="value")


def _differences(inputs: ReportInputs, site: str) -> pd.DataFrame:
    """Mean paired differences to the baseline, arms down and seeds across."""
    baseline = inputs.roles.baseline
    if inputs.row(baseline, site) is None:
        return pd.DataFrame()
    means = {
        arm: paired_differences(inputs.patients, arm, baseline, site, "dsc").mean()
        for arm in inputs.names()
        if arm != baseline and inputs.row(arm, site) is not None
    }
    return pd.DataFrame(means).T


def _table(caption: str, inputs: ReportInputs, figures: pd.DataFrame, note: str, signed: bool) -> Table:
    colours = arm_colours(inputs.names())
    rows = []
    for arm in (name for name in inputs.names() if name in figures.index):
        values = figures.loc[arm]
        cells = [number(value, sign=signed) for value in (*values, values.mean())]
        cells.append(number(float(values.to_numpy().std(ddof=1))))
        rows.append(Row(arm_label(arm), tuple(Cell(text) for text in cells), colours[arm]))
    columns = (*(f"training {int(seed) + 1}" for seed in figures.columns), "mean", "spread")
    return Table(caption, "Arm", columns, tuple(rows), note=note)
