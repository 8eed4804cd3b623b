"""Sections about arms: the table of arms and the declared paired tests."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from crossprobe.evaluation.arms_table import METRICS
from crossprobe.evaluation.claimed import CITATION, CONTEXT, NOTES
from crossprobe.evaluation.comparison_settings import LOWER_IS_BETTER
from crossprobe.reporting import charts
from crossprobe.reporting.blocks import Block, Cell, Paragraph, Row, Section, Table, chart
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_colours, arm_label, metric_label
from crossprobe.reporting.wording import (
    MISSING,
    Compared,
    interval,
    number,
    p_clause,
    p_value,
    plural,
    verdict,
)

_DOTS = (
    "DSC of every arm: mean over patients with its bootstrap interval. Hollow diamonds are claims of others."
)


def arms_section(inputs: ReportInputs) -> Section:
    """Makes the chart of arms and their table for each site.

    Args:
        inputs: What the report is made from.

    Returns:
        The section.
    """
    blocks: list[Block] = [chart(charts.arms_dot_plot(inputs.arms, "dsc"), _DOTS)]
    # The target is what the study is about.
    sites = sorted(dict.fromkeys(inputs.arms["site"]), key=lambda site: site != "target")
    blocks += [_site_table(inputs, site) for site in sites]
    if inputs.arms["claimed"].notna().any():
        claims = {arm: inputs.roles.claimed_as(arm) for arm in inputs.names()}
        notes = "; ".join(f"{arm_label(arm)}: {NOTES[key]}" for arm, key in claims.items() if key in NOTES)
        text = f"Claimed: {CITATION}. {CONTEXT}" + (f" {notes}." if notes else "")
        blocks.append(Paragraph(text, "note"))
    if inputs.empty_counts is not None and len(inputs.empty_counts):
        blocks.append(_empty_masks(inputs.empty_counts, inputs.names(), inputs.n_seeds()))
    return Section("arms", "The arms", tuple(blocks))


def _site_table(inputs: ReportInputs, site: str) -> Table:
    """DSC of every arm on one site, the differences in DSC, then every other metric.

    In that order, since a narrow screen shows the first columns only.
    """
    here, colours = inputs.arms[inputs.arms["site"] == site], arm_colours(inputs.names())
    metrics = [name for name in METRICS if here["mean"][here["metric"] == name].notna().any()]
    best = {metric: _best_of(inputs, site, metric) for metric in metrics}
    against = {"baseline": inputs.roles.baseline, "fused": inputs.roles.fused}
    against = {role: arm for role, arm in against.items() if here[f"{role}_difference"].notna().any()}
    rows = []
    for arm in dict.fromkeys(here["arm"]):
        figures = [_arm_cell(inputs.row(arm, site, metric), best[metric]) for metric in metrics]
        changes = [_difference_cell(inputs.to_role(arm, role, site)) for role in against]
        rows.append(Row(arm_label(arm), (figures[0], *changes, *figures[1:]), colours[arm]))
    count, level = int(here["n_patients"].max()), f"{100 * inputs.statistics.confidence:.0f} %"
    spans = {
        "mean": 1,
        "difference in DSC": len(against),
        "mean over patients": len(metrics) - 1,
    }
    groups = tuple((text, span) for text, span in spans.items() if span)
    heads = [f"{metric_label(name)} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in metrics]
    names = [heads[0], *(f"vs {arm_label(str(arm))}" for arm in against.values()), *heads[1:]]
    drawn = "patients and training seeds" if inputs.n_seeds() > 1 else "patients"
    note = f"Below each figure its {level} bootstrap interval over {drawn}. Bold: best in its column "
    note += "among arms without target labels."
    note += " A p is shown where the pair was declared before the run, and nowhere else." if against else ""
    caption = f"{site.capitalize()} test, n = {plural(count, 'patient')}"
    return Table(caption, "Arm", tuple(names), tuple(rows), groups, note)


def _best_of(inputs: ReportInputs, site: str, metric: str) -> float:
    table = inputs.arms[(inputs.arms["site"] == site) & (inputs.arms["metric"] == metric)]
    means = table[table["arm"].isin(inputs.without_target_labels())]["mean"].dropna()
    if len(means) < 2:
        return math.nan
    return float(means.min() if metric in LOWER_IS_BETTER else means.max())


def _arm_cell(row: pd.Series | None, best: float) -> Cell:
    if row is None or not math.isfinite(row["mean"]):
        return Cell(MISSING)
    text, metric = number(row["mean"], row["metric"]), str(row["metric"])
    claim = f"claimed {number(row['claimed'], metric)}" if math.isfinite(row["claimed"]) else ""
    return Cell(text, interval(row["low"], row["high"], metric), claim, strong=text == number(best, metric))


def _difference_cell(compared: Compared | None) -> Cell:
    if compared is None:
        return Cell(MISSING)
    test = p_clause(compared.p_holm) if math.isfinite(compared.p_holm) else ""
    return Cell(number(compared.difference, sign=True), compared.bracket, tone=compared.tone, test=test)


def _empty_masks(counts: pd.DataFrame, order: list[str], trainings: int) -> Block:
    """Says for which frames border distances do not exist; a table only where there are any."""
    each = " Every frame counts once a training." if trainings > 1 else ""
    some = counts[(counts["empty_prediction"] > 0) | (counts["empty_reference"] > 0)]
    if some.empty:
        frames = plural(int(counts.groupby("site")["n_frames"].max().sum()), "frame")
        return Paragraph(
            f"No mask was empty, predicted or reference, on any of the {frames} scored.{each}", "note"
        )
    known = [arm for arm in order if arm in set(some["arm"])]
    some = some.set_index("arm").loc[known].reset_index()
    names = ("n_frames", "empty_prediction", "empty_reference")
    rows = [
        Row(
            arm_label(str(row["arm"])),
            (Cell(str(row["site"]), numeric=False), *(Cell(f"{int(row[name]):,}") for name in names)),
        )
        for row in some.to_dict("records")
    ]
    return Table(
        "Frames whose border distances do not exist",
        "Arm",
        ("site", "frames", "nothing predicted", "nothing in the reference"),
        tuple(rows),
        note="Both empty: overlap 1. One empty: overlap 0, counted here, left out of HD95 and ASSD. "
        "Arms that are not listed have none." + each,
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
    here = inputs.patients.query("site == 'target' and metric == 'dsc'")
    arms = set(here["arm"])
    if inputs.roles.baseline in arms and len(arms) > 1:
        drawn = charts.paired_differences_plot(here, inputs.roles.baseline, settings=inputs.statistics)
        blocks.append(chart(drawn, "Each dot is one patient; the dark dot and bar are mean and interval."))
    for family, table in inputs.comparisons.groupby("family", sort=False):
        size = int(table["family_size"].iloc[0])
        blocks.append(
            Table(
                f"Family “{family}”: {plural(size, 'test')}, Holm-corrected together",
                "Comparison",
                ("site", "metric", "n", "difference", "p", "Holm p", "verdict"),
                tuple(_test_row(row) for row in table.to_dict("records")),
                note="Wilcoxon signed rank test, two-sided, on patient means. “Better” and “worse” mean that "
                "the interval leaves zero out and the corrected p lies below 0.05.",
            )
        )
    return Section("tests", "Paired tests", tuple(blocks))


def _test_row(row: dict[Any, Any]) -> Row:
    metric, count = str(row["metric"]), int(row["n_patients"])
    compared = Compared(row["difference"], row["low"], row["high"], row["p_holm"], count, metric)
    judged = verdict(compared)
    cells = (
        Cell(str(row["site"]), numeric=False),
        Cell(metric_label(metric), numeric=False),
        Cell(str(count)),
        Cell(number(compared.difference, metric, sign=True), compared.bracket),
        Cell(p_value(row["p"])),
        Cell(p_value(row["p_holm"])),
        Cell(judged, tone=compared.tone if judged in ("better", "worse") else "", numeric=False),
    )
    # "Identical" is said by the verdict already.
    note = "" if judged in str(row["note"]) else str(row["note"])
    return Row(f"{arm_label(row['arm'])} vs {arm_label(row['against'])}", cells, note=note)
