"""Sections that set arms against one another: fusion, the choice without labels, groups of patients."""

from __future__ import annotations

import math

import pandas as pd

from crossprobe.evaluation.label_free import CRITERIA
from crossprobe.reporting.blocks import Block, Cell, Paragraph, Row, Section, Table
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_colours, arm_label, metric_label
from crossprobe.reporting.wording import BETTER, MISSING, NO_ACCURACY, number, p_value, plural, verdict

FUSION_NOTE = (
    "Two sigmoid branches weighted by one increasing function of their own confidence give the same mask as "
    "their plain average: with a = p \u2212 ½ the fused value lies above ½ exactly where f(a₁) + f(a₂) > 0, "
    "and f is odd and increasing, so the sign is that of a₁ + a₂. Entropy, margin and average therefore "
    "agree at threshold .5 (up to a pixel of the border, moved by interpolation to native size). A "
    "temperature fitted for each branch on source validation changes what is averaged, so these differ from "
    "the average of raw sigmoids, but not from one another; only evidence of another kind, such as stability "
    "under a flip, sets them apart. Confidence here is absolute, 1 \u2212 H / ln 2, and never depends on "
    "what else is in a batch."
)

CHOICE_NOTE = (
    "A new probe has no labels, so an arm must be chosen by what can be seen without them: agreement with "
    "the other arms, the same answer when a frame is mirrored or its gain changes, certainty, and foreground "
    "that does not jump from frame to frame. Training on the source alone is always a candidate."
)

_CRITERIA = {
    "consensus": "consensus ↑",
    "consistency": "consistency ↑",
    "entropy": "entropy ↓",
    "area_jump": "area jump ↓",
}


def fusion_section(inputs: ReportInputs) -> Section | None:
    """Sets fusion against its branches and their plain average.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where nothing was fused.
    """
    roles = inputs.roles
    if roles.fused is None or inputs.row(roles.fused) is None:
        return None
    others = [arm for arm in inputs.names() if arm != roles.fused and arm.startswith("fused")]
    rivals = [*roles.branches, *([roles.average] if roles.average else []), *others]
    rows, colours = [], arm_colours(inputs.names())
    for rival in dict.fromkeys(rivals):
        if inputs.row(rival) is None:
            continue
        compared = inputs.compared(roles.fused, rival)
        judged = verdict(compared)
        if not math.isfinite(compared.p_holm) and judged in (BETTER.above, BETTER.below):
            judged += " by its interval alone; no test was declared"
        cells = (
            Cell(str(compared.n_patients)),
            Cell(number(compared.difference, sign=True), compared.bracket),
            Cell(p_value(compared.p_holm)),
            Cell(judged, numeric=False),
        )
        rows.append(Row(f"{arm_label(roles.fused)} vs {arm_label(rival)}", cells, colours.get(rival, "")))
    columns = ("n", "difference", "Holm p", "verdict")
    table = Table("Fusion against what it is made of, target DSC", "Comparison", columns, tuple(rows))
    return Section(
        "fusion", "Fusion", (table, Paragraph(FUSION_NOTE, "note")) if rows else (Paragraph(FUSION_NOTE),)
    )


def label_free_section(inputs: ReportInputs) -> Section | None:
    """Shows the choice made without labels and what it cost.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where no choice was made.
    """
    table = inputs.label_free
    if table is None or table.empty:
        return None
    colours, scored = arm_colours(inputs.names()), inputs.target_scored()
    rows = []
    for row in table.to_dict("records"):
        target = inputs.row(row["arm"])
        cells = [Cell(number(row[criterion])) for criterion in CRITERIA]
        cells.append(Cell(f"{row['mean_rank']:.2f}", strong=bool(row["chosen"])))
        if scored:
            cells.append(Cell(number(target["mean"]) if target is not None else MISSING))
        rows.append(
            Row(
                arm_label(row["arm"]),
                tuple(cells),
                colours.get(row["arm"], ""),
                "chosen" if row["chosen"] else "",
            )
        )
    frames, patients = (int(table[name].iloc[0]) for name in ("n_frames", "n_patients"))
    sizes = f"{plural(frames, 'frame')} of {plural(patients, 'patient')}"
    columns = (
        *(_CRITERIA[criterion] for criterion in CRITERIA),
        "mean rank",
        *(["test DSC"] if scored else []),
    )
    blocks: list[Block] = [Paragraph(CHOICE_NOTE)]
    caption = f"Candidates on {sizes} of the target's unlabelled selection part"
    note = "Test DSC is shown for comparison only; nothing was chosen by it." if scored else NO_ACCURACY
    blocks.append(Table(caption, "Arm", columns, tuple(rows), note=note))
    if inputs.regret is not None and len(inputs.regret):
        lines = [
            Row(
                str(row["by"]).replace("_", " "),
                (
                    Cell(arm_label(row["chosen"]), numeric=False),
                    Cell(number(row["score"])),
                    Cell(arm_label(row["oracle"]), numeric=False),
                    Cell(number(row["oracle_score"])),
                    Cell(number(row["regret"])),
                ),
            )
            for row in inputs.regret.to_dict("records")
        ]
        columns = ("chosen", "its DSC", "best candidate", "its DSC", "regret")
        blocks.append(Table("What each rule would have cost", "Chosen by", columns, tuple(lines)))
    return Section("label-free", "Choosing without labels", tuple(blocks))


def breakdown_section(inputs: ReportInputs, metric: str = "dsc") -> Section | None:
    """Breaks scores down by device, view, operator and class.

    Args:
        inputs: What the report is made from.
        metric: Metric to break down.

    Returns:
        The section, or None where the data tell no groups.
    """
    if inputs.breakdown is None:
        return None
    table = inputs.breakdown[inputs.breakdown["metric"] == metric]
    parts = table.groupby("by", sort=False)
    blocks = [_breakdown_table(part, str(by), metric, inputs.names()) for by, part in parts]
    if not blocks:
        return None
    note = Paragraph("Groups are small and were not tested: they show where to look, not what is so.", "note")
    return Section("breakdown", "By device, view, operator and class", (*blocks, note))


def _breakdown_table(table: pd.DataFrame, by: str, metric: str, order: list[str]) -> Table:
    arms = [arm for arm in order if arm in set(table["arm"])]
    low, high = float(table["mean"].min()), float(table["mean"].max())
    rows = []
    sites = sorted(dict.fromkeys(table["site"]), key=lambda site: site != "target")
    groups = [(site, group) for site in sites for group in sorted(set(table["group"][table["site"] == site]))]
    for site, group in groups:
        part = table[(table["site"] == site) & (table["group"] == group)]
        means = dict(zip(part["arm"], part["mean"].astype(float), strict=True))
        cells = []
        for arm in arms:
            heat = (means[arm] - low) / (high - low) if arm in means and high > low else None
            cells.append(Cell(number(means.get(arm, math.nan), metric), heat=heat))
        patients, frames = int(part["n_patients"].max()), int(part["n_frames"].max())
        sizes = f"{site}: {plural(patients, 'patient')}, {plural(frames, 'frame')}"
        rows.append(Row(str(group), tuple(cells), note=sizes))
    label = "class (such as fracture)" if by == "class" else by
    return Table(
        f"{metric_label(metric)} by {label}", by.capitalize(), tuple(map(arm_label, arms)), tuple(rows)
    )
