"""Sections about arms: the table of arms and the declared paired tests."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.evaluation.arms_table import LOWER_IS_BETTER, METRICS
from crossprobe.evaluation.claimed import CITATION, CONTEXT, NOTES
from crossprobe.reporting import charts
from crossprobe.reporting.blocks import Block, Cell, Chart, Paragraph, Row, Section, Table, chart
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import DARK, LIGHT, Theme, arm_colours, arm_label, metric_label
from crossprobe.reporting.wording import (
    MISSING,
    interval,
    number,
    p_value,
    plural,
    tone,
    verdict,
)


def both_looks(draw: Callable[[Theme], Figure], caption: str, alternative: str = "") -> Chart:
    """Draws a chart in the light and the dark look."""
    return chart(draw(LIGHT), draw(DARK), caption, alternative)


def arms_section(inputs: ReportInputs) -> Section:
    """Makes the table of arms and its chart.

    Args:
        inputs: What the report is made from.

    Returns:
        The section.
    """
    blocks: list[Block] = [both_looks(lambda theme: charts.arms_dot_plot(inputs.arms, "dsc", theme), _DOTS)]
    blocks.append(_main_table(inputs))
    differences = _difference_table(inputs)
    blocks += [differences] if differences else []
    if inputs.arms["claimed"].notna().any():
        notes = [f"{arm_label(arm)}: {NOTES[arm]}" for arm in inputs.names() if arm in NOTES]
        said = "; ".join(notes)
        blocks.append(Paragraph(f"Claimed: {CITATION}. {CONTEXT}" + (f" {said}." if said else ""), "note"))
    if inputs.empty_counts is not None and len(inputs.empty_counts):
        blocks.append(_empty_table(inputs.empty_counts))
    return Section("arms", "The arms", tuple(blocks))


_DOTS = (
    "DSC of every arm: mean over patients with its bootstrap interval. Hollow diamonds are claims of others."
)


def _main_table(inputs: ReportInputs) -> Table:
    table, colours = inputs.arms, arm_colours(inputs.names())
    sites = list(dict.fromkeys(table["site"]))
    columns = [
        (site, metric)
        for site in sites
        for metric in METRICS
        if ((table["site"] == site) & (table["metric"] == metric) & table["mean"].notna()).any()
    ]
    best = {column: _best_of(inputs, *column) for column in columns}
    rows = []
    for arm in inputs.names():
        cells = tuple(_arm_cell(inputs.row(arm, *column), best[column]) for column in columns)
        rows.append(Row(arm_label(arm), cells, colours[arm]))
    arrows = {metric: "↓" if metric in LOWER_IS_BETTER else "↑" for _, metric in columns}
    groups = []
    for site in sites:
        here = table[table["site"] == site]
        label = f"{site.capitalize()} test, n = {int(here['n_patients'].max())}"
        groups.append((label, sum(name == site for name, _ in columns)))
    level = f"{100 * inputs.statistics.confidence:.0f} %"
    return Table(
        caption="Every arm on the test patients of both sites",
        corner="Arm",
        columns=tuple(f"{metric_label(metric)} {arrows[metric]}" for _, metric in columns),
        rows=tuple(rows),
        groups=tuple(groups),
        note=f"Mean over patients, with its {level} bootstrap interval over patients below. Bold: best in "
        "its column among arms without target labels. n is smaller where a distance does not exist for a "
        "patient.",
    )


def _best_of(inputs: ReportInputs, site: str, metric: str) -> float:
    table = inputs.arms[(inputs.arms["site"] == site) & (inputs.arms["metric"] == metric)]
    means = table[table["arm"].isin(inputs.without_target_labels())]["mean"].dropna()
    if len(means) < 2:
        return math.nan
    return float(means.min() if metric in LOWER_IS_BETTER else means.max())


def _arm_cell(row: pd.Series | None, best: float) -> Cell:
    if row is None:
        return Cell(MISSING)
    text, metric = number(row["mean"], row["metric"]), str(row["metric"])
    claim = f"claimed {number(row['claimed'], metric)}" if math.isfinite(row["claimed"]) else ""
    return Cell(text, interval(row["low"], row["high"], metric), claim, strong=text == number(best, metric))


def _difference_table(inputs: ReportInputs) -> Table | None:
    """Differences against the baseline and the fused arm, target DSC."""
    rows, colours = [], arm_colours(inputs.names())
    parts = {"baseline": inputs.roles.baseline, "fused": inputs.roles.fused}
    parts = {role: arm for role, arm in parts.items() if arm and inputs.row(arm) is not None}
    if not parts or len(inputs.names()) < 2:
        return None
    for arm in inputs.names():
        row = inputs.row(arm)
        if row is None:
            continue
        cells = [Cell(str(int(row["n_patients"])))]
        for role in parts:
            values = [row[f"{role}_{part}"] for part in ("difference", "low", "high")]
            judged = tone(*values, int(row["n_patients"])) if math.isfinite(values[0]) else ""
            text = number(values[0], sign=True)
            cells.append(Cell(text, interval(values[1], values[2], sign=True), tone=judged))
            cells.append(Cell(p_value(row[f"{role}_p_holm"])))
        rows.append(Row(arm_label(arm), tuple(cells), colours[arm]))
    groups = (("", 1), *((f"less {arm_label(str(arm))}", 2) for arm in parts.values()))
    columns = ("n", *(name for _ in parts for name in ("difference", "Holm p")))
    return Table(
        "Differences in target DSC on the same patients",
        "Arm",
        columns,
        tuple(rows),
        groups,
        "A p is shown where the pair was declared before the run, and nowhere else.",
    )


def _empty_table(counts: pd.DataFrame) -> Table:
    rows = [
        Row(
            arm_label(str(row["arm"])),
            (
                Cell(str(row["site"]), numeric=False),
                *(
                    Cell(f"{int(row[name]):,}")
                    for name in ("n_frames", "empty_prediction", "empty_reference")
                ),
            ),
        )
        for row in counts.to_dict("records")
    ]
    return Table(
        "Frames whose border distances do not exist",
        "Arm",
        ("site", "frames", "nothing predicted", "nothing in the reference"),
        tuple(rows),
        note="Both empty: overlap 1. One empty: overlap 0, counted here, left out of HD95 and ASSD.",
    )


def paired_tests_section(inputs: ReportInputs) -> Section | None:
    """Makes the table of declared paired tests, family by family.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where no comparison was declared.
    """
    if inputs.comparisons.empty:
        return None
    blocks: list[Block] = []
    arms = list(dict.fromkeys(inputs.patients["arm"]))
    here = inputs.patients.query("site == 'target' and metric == 'dsc'")
    if inputs.roles.baseline in set(here["arm"]) and len(arms) > 1:

        def draw(theme: Theme) -> Figure:
            baseline = inputs.roles.baseline
            return charts.paired_differences_plot(here, baseline, settings=inputs.statistics, theme=theme)

        blocks.append(
            both_looks(draw, "Each dot is one patient; the dark dot and bar are mean and interval.")
        )
    for family, table in inputs.comparisons.groupby("family", sort=False):
        size = int(table["family_size"].iloc[0])
        blocks.append(
            Table(
                f"Family “{family}”: {plural(size, 'test')}, Holm-corrected together",
                "Comparison",
                ("site", "metric", "n", "difference", "p", "Holm p", "verdict"),
                tuple(_test_row(row) for row in table.to_dict("records")),
                note="Wilcoxon signed rank test, two-sided, on patient means. “Helps” means that the "
                "interval leaves zero out and the corrected p lies below .05.",
            )
        )
    return Section("tests", "Paired tests", tuple(blocks))


def _test_row(row: dict) -> Row:
    metric, count = str(row["metric"]), int(row["n_patients"])
    parts = (row["difference"], row["low"], row["high"])
    judged = verdict(*parts, row["p_holm"], count, metric)
    colour = tone(*parts, count, metric) if judged in ("helps here", "hurts here") else ""
    return Row(
        f"{arm_label(row['arm'])} less {arm_label(row['against'])}",
        (
            Cell(str(row["site"]), numeric=False),
            Cell(metric_label(metric), numeric=False),
            Cell(str(count)),
            Cell(number(parts[0], metric, sign=True), interval(parts[1], parts[2], metric, sign=True)),
            Cell(p_value(row["p"])),
            Cell(p_value(row["p_holm"])),
            Cell(judged, tone=colour, numeric=False),
        ),
        note=str(row["note"]),
    )
