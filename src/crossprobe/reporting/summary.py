"""The summary: what the numbers say, in sentences that hold whatever they say."""

from __future__ import annotations

import math

import pandas as pd

from crossprobe.evaluation.arms_table import declared_p
from crossprobe.evaluation.statistics import SMALLEST_TESTABLE, compare, smallest_p
from crossprobe.reporting.blocks import Bullets, Paragraph, Section, Tile, Tiles
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_label
from crossprobe.reporting.wording import number, p_clause, plural, tone, verdict, with_interval


def best_arm(inputs: ReportInputs, site: str = "target", metric: str = "dsc") -> str | None:
    """Finds the arm with the highest mean among those that saw no target label."""
    table = inputs.arms
    chosen = table[(table["site"] == site) & (table["metric"] == metric)]
    chosen = chosen[chosen["arm"].isin(inputs.without_target_labels())].dropna(subset="mean")
    return str(chosen.loc[chosen["mean"].idxmax(), "arm"]) if len(chosen) else None


def summary(inputs: ReportInputs) -> Section:
    """Writes the summary.

    Args:
        inputs: What the report is made from.

    Returns:
        The section: the figures that matter as tiles, then sentences.
    """
    best = best_arm(inputs)
    if best is None:
        text = "No arm has a score on labelled target test patients, so nothing can be said about the target."
        return Section("summary", "Summary", (Paragraph(text, "warning"),))
    sentences = [_best(inputs, best), *_shift(inputs)]
    sentences += [_against_baseline(inputs, arm, "Pretraining with ") for arm in inputs.self_supervised()]
    sentences += _fusion(inputs) + _recovered(inputs, best) + _choice(inputs)
    blocks = [Tiles(tuple(_tiles(inputs, best))), Bullets(tuple(text for text in sentences if text))]
    n_patients = int(_row(inputs, best)["n_patients"])
    if n_patients < SMALLEST_TESTABLE:
        blocks.append(
            Paragraph(
                f"Only {plural(n_patients, 'patient')} in the target test part: no two-sided signed rank "
                f"test can give p below {smallest_p(n_patients):.3f}, whatever the data. Read the figures as "
                "a rehearsal.",
                "warning",
            )
        )
    return Section("summary", "Summary", tuple(blocks))


def _row(inputs: ReportInputs, arm: str | None, site: str = "target") -> pd.Series:
    row = inputs.row(arm, site)
    assert row is not None
    return row


def _figure(row: pd.Series) -> str:
    return with_interval(row["mean"], row["low"], row["high"], row["metric"])


def _best(inputs: ReportInputs, best: str) -> str:
    row = _row(inputs, best)
    text = (
        f"Best on the target by DSC, among arms that saw no target label: {arm_label(best)}, {_figure(row)} "
        f"over {plural(int(row['n_patients']), 'patient')}."
    )
    if best == inputs.roles.baseline:
        return f"{text} No adaptation did better than training on the source alone."
    return text


def _shift(inputs: ReportInputs) -> list[str]:
    """What the change of device costs the baseline."""
    source, target = (inputs.row(inputs.roles.baseline, site) for site in ("source", "target"))
    if source is None or target is None:
        return []
    change = target["mean"] - source["mean"]
    label = arm_label(inputs.roles.baseline)
    if change >= 0:
        return [f"{label} loses nothing from source ({_figure(source)}) to target ({_figure(target)})."]
    return [
        f"The change of device costs {label.lower()} {number(-change)} DSC: "
        f"{_figure(source)} on the source, {_figure(target)} on the target."
    ]


def _against_baseline(inputs: ReportInputs, arm: str, lead: str = "") -> str:
    row = inputs.row(arm)
    if row is None or not math.isfinite(row["baseline_difference"]):
        return ""
    parts = (row["baseline_difference"], row["baseline_low"], row["baseline_high"])
    judged = verdict(*parts, row["baseline_p_holm"], int(row["n_patients"]))
    difference = with_interval(*parts, sign=True)
    p = p_clause(row["baseline_p_holm"])
    return f"{lead}{arm_label(arm)} {judged}: {difference} DSC against source only, {p}."


def _fusion(inputs: ReportInputs) -> list[str]:
    """Fusion against the baseline, its better branch and the plain average."""
    roles = inputs.roles
    fused = inputs.row(roles.fused)
    if fused is None or roles.fused is None:
        return []
    sentences = [_against_baseline(inputs, roles.fused)]
    branches = {arm: row for arm in roles.branches if (row := inputs.row(arm)) is not None}
    rivals = [max(branches, key=lambda arm: branches[arm]["mean"])] if branches else []
    rivals += [roles.average] if roles.average and inputs.row(roles.average) is not None else []
    for rival in rivals:
        found = compare(inputs.patients, roles.fused, rival, "target", "dsc", inputs.statistics)
        parts = [float(str(found[part])) for part in ("difference", "low", "high")]
        count = int(str(found["n_patients"]))
        p = declared_p(inputs.comparisons, roles.fused, rival, "target", "dsc")
        name = "the plain average" if rival == roles.average else f"its better branch, {arm_label(rival)},"
        lead = f"{arm_label(roles.fused)} against {name}"
        judged = verdict(parts[0], parts[1], parts[2], p, count)
        figures = "" if judged.startswith("changes nothing") else f": {with_interval(*parts, sign=True)} DSC"
        sentences.append(f"{lead} {judged}{figures}.")
    return sentences


def _recovered(inputs: ReportInputs, best: str) -> list[str]:
    """Share of the gap between baseline and reference that the best arm closes."""
    baseline, reference = inputs.row(inputs.roles.baseline), inputs.row(inputs.roles.reference)
    if baseline is None or reference is None:
        return []
    gap, gain = reference["mean"] - baseline["mean"], _row(inputs, best)["mean"] - baseline["mean"]
    label = arm_label(str(inputs.roles.reference))
    if gap <= 0:
        return [f"{label} ({_figure(reference)}) is not above source only here: there is no gap to close."]
    return [
        f"{label} reaches {_figure(reference)}; the best arm closes {100 * gain / gap:.0f} % of the "
        f"{number(gap)} DSC between it and source only."
    ]


def _choice(inputs: ReportInputs) -> list[str]:
    """What choosing without labels would have taken, and its price."""
    if inputs.label_free is None or inputs.label_free.empty:
        return []
    chosen = str(inputs.label_free["arm"][inputs.label_free["chosen"]].iloc[0])
    text = f"Without any target label one would have chosen {arm_label(chosen)}"
    if inputs.regret is None or inputs.regret.empty:
        return [f"{text}."]
    row = inputs.regret.iloc[0]
    if row["regret"] <= 0:
        return [f"{text}: also the best of the candidates on the test patients."]
    return [f"{text}, {number(row['regret'])} DSC short of the best candidate, {arm_label(row['oracle'])}."]


def _tiles(inputs: ReportInputs, best: str) -> list[Tile]:
    row = _row(inputs, best)
    detail = f"{_figure(row).split(' ', 1)[-1]}, n = {int(row['n_patients'])}"
    tiles = [Tile(f"Best target DSC: {arm_label(best)}", number(row["mean"]), detail)]
    shown = best
    if best == inputs.roles.baseline and inputs.row(inputs.roles.fused) is not None:
        shown = str(inputs.roles.fused)
    against = inputs.row(shown)
    if against is not None and math.isfinite(against["baseline_difference"]):
        parts = (against["baseline_difference"], against["baseline_low"], against["baseline_high"])
        judged = tone(*parts, int(against["n_patients"]))
        detail = (
            with_interval(*parts, sign=True).split(" ", 1)[-1] + f", {p_clause(against['baseline_p_holm'])}"
        )
        tiles.append(
            Tile(f"{arm_label(shown)} less source only", number(parts[0], sign=True), detail, judged)
        )
    source = inputs.row(inputs.roles.baseline, "source")
    target = inputs.row(inputs.roles.baseline)
    if source is not None and target is not None:
        change = target["mean"] - source["mean"]
        detail = f"{number(source['mean'])} on source, {number(target['mean'])} on target"
        tiles.append(Tile("Source only: target less source", number(change, sign=True), detail))
    if inputs.regret is not None and len(inputs.regret):
        regret = inputs.regret.iloc[0]
        detail = f"chose {arm_label(regret['chosen'])}, best was {arm_label(regret['oracle'])}"
        tiles.append(Tile("Regret of the label-free choice", number(regret["regret"]), detail))
    return tiles
