"""The summary: what the numbers say, in sentences that hold whatever they say."""

from __future__ import annotations

import pandas as pd

from crossprobe.evaluation.comparison_settings import SMALLEST_TESTABLE
from crossprobe.evaluation.statistics import smallest_p
from crossprobe.reporting.blocks import Block, Bullets, Paragraph, Section, Tile, Tiles
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_label
from crossprobe.reporting.wording import (
    HELPS,
    NO_ACCURACY,
    UNMEASURED,
    interval,
    number,
    p_clause,
    plural,
    verdict,
    with_interval,
)

ONE_TRAINING = (
    "Every arm was trained once: intervals and p hold the luck of which patients were met, no other."
)
TO_MEASURE = "Label frames of patients in the target's test part, and the next run scores every arm on them."


def best_arm(inputs: ReportInputs, site: str = "target", metric: str = "dsc") -> str | None:
    """Finds the arm with the highest mean among those that saw no target label."""
    table = inputs.arms
    chosen = table[(table["site"] == site) & (table["metric"] == metric)]
    chosen = chosen[chosen["arm"].isin(inputs.without_target_labels())].dropna(subset="mean")
    return str(chosen["arm"].iloc[int(chosen["mean"].argmax())]) if len(chosen) else None


def summary(inputs: ReportInputs) -> Section:
    """Writes the summary.

    Args:
        inputs: What the report is made from.

    Returns:
        The section: the figures that matter as tiles, then sentences.
    """
    blocks: list[Block]
    best = best_arm(inputs)
    row = inputs.row(best)
    if best is None or row is None:
        said = (*_source_alone(inputs), *_choice(inputs), *_left_out(inputs), TO_MEASURE)
        blocks = [Paragraph(UNMEASURED, "warning"), Bullets(said)]
        return Section("summary", "Summary", tuple(blocks))
    sentences = [_best(inputs, best, row), *_shift(inputs)]
    sentences += [_to_baseline(inputs, arm, "Pretraining with ") for arm in inputs.self_supervised()]
    sentences += _fusion(inputs) + _recovered(inputs, row) + _choice(inputs)
    sentences += [*_left_out(inputs), _trainings(inputs)]
    said = tuple(text for text in sentences if text)
    blocks = [Tiles(tuple(_tiles(inputs, best, row))), Bullets(said)]
    n_patients = int(row["n_patients"])
    if n_patients < SMALLEST_TESTABLE:
        text = (
            f"Only {plural(n_patients, 'patient')} in the target test part: no two-sided signed rank test "
            f"can give p below {smallest_p(n_patients):.3f}, whatever the data. Read the figures as a "
            "rehearsal."
        )
        blocks.append(Paragraph(text, "warning"))
    return Section("summary", "Summary", tuple(blocks))


def _source_alone(inputs: ReportInputs) -> list[str]:
    """What the source's labels tell where the target has none."""
    row = inputs.row(inputs.roles.baseline, "source")
    if row is None:
        return []
    return [
        f"{arm_label(inputs.roles.baseline)} reaches {_figure(row)} DSC on the source's test patients. "
        "That is no promise for the target: another probe is why this run was made."
    ]


def _trainings(inputs: ReportInputs) -> str:
    """How often arms were trained, which no interval over patients and no p tells."""
    if inputs.n_seeds() > 1:
        return f"Every arm was trained {inputs.n_seeds()} times, and scores are means over these trainings."
    return ONE_TRAINING


def _left_out(inputs: ReportInputs) -> list[str]:
    """Arms that could not be trained for lack of target labels."""
    return [
        f"{arm_label(arm)} is left out: it learns from labels of the target's train and selection parts, "
        "and one or both have none."
        for arm in inputs.left_out()
    ]


def _figure(row: pd.Series) -> str:
    return with_interval(row["mean"], row["low"], row["high"], row["metric"])


def _best(inputs: ReportInputs, best: str, row: pd.Series) -> str:
    label = arm_label(best)
    twins = [arm_label(arm) for arm in _as_good(inputs, best, row)]
    label += f" (and, with the same scores, {', '.join(twins)})" if twins else ""
    text = (
        f"Best on the target by DSC, among arms that saw no target label: {label}, {_figure(row)} over "
        f"{plural(int(row['n_patients']), 'patient')}."
    )
    if best == inputs.roles.baseline:
        return f"{text} No adaptation did better than training on the source alone."
    return text


def _as_good(inputs: ReportInputs, best: str, row: pd.Series) -> list[str]:
    """Other arms with the very same mean and interval: fusion modes that give the same masks."""
    same = []
    for arm in inputs.without_target_labels():
        other = inputs.row(arm)
        if arm != best and other is not None and abs(other["mean"] - row["mean"]) < 1e-12:
            same.append(arm)
    return same


def _shift(inputs: ReportInputs) -> list[str]:
    """What the change of device costs the baseline."""
    source, target = (inputs.row(inputs.roles.baseline, site) for site in ("source", "target"))
    if source is None or target is None:
        return []
    change, label = target["mean"] - source["mean"], arm_label(inputs.roles.baseline)
    if change >= 0:
        return [f"{label} loses nothing from source ({_figure(source)}) to target ({_figure(target)})."]
    return [
        f"The change of device costs {label.lower()} {number(-change)} DSC: {_figure(source)} on the "
        f"source's test patients, {_figure(target)} on the target's."
    ]


def _to_baseline(inputs: ReportInputs, arm: str, lead: str = "") -> str:
    compared = inputs.to_role(arm, "baseline")
    if compared is None:
        return ""
    judged = verdict(compared, HELPS)
    baseline = arm_label(inputs.roles.baseline).lower()
    return f"{lead}{arm_label(arm)} {judged}: {compared.text} DSC vs {baseline}, {p_clause(compared.p_holm)}."


def _fusion(inputs: ReportInputs) -> list[str]:
    """Fusion against the baseline, its better branch and the plain average."""
    roles = inputs.roles
    if roles.fused is None or inputs.row(roles.fused) is None:
        return []
    sentences = [_to_baseline(inputs, roles.fused)]
    branches = {arm: float(row["mean"]) for arm in roles.branches if (row := inputs.row(arm)) is not None}
    rivals = {}
    if branches:
        better = max(branches, key=lambda arm: branches[arm])
        rivals[better] = f"its better branch, {arm_label(better)}"
    if roles.average and roles.average != roles.fused and inputs.row(roles.average) is not None:
        rivals[roles.average] = "the plain average"
    for rival, name in rivals.items():
        compared = inputs.compared(roles.fused, rival)
        figures = "" if compared.identical else f", {compared.text} DSC, {p_clause(compared.p_holm)}"
        sentences.append(f"{arm_label(roles.fused)} against {name}: {verdict(compared)}{figures}.")
    return sentences


def _recovered(inputs: ReportInputs, best: pd.Series) -> list[str]:
    """Share of the gap between baseline and reference that the best arm closes."""
    baseline, reference = inputs.row(inputs.roles.baseline), inputs.row(inputs.roles.reference)
    if baseline is None or reference is None:
        return []
    gap, gain = reference["mean"] - baseline["mean"], best["mean"] - baseline["mean"]
    label = arm_label(str(inputs.roles.reference))
    name = arm_label(inputs.roles.baseline).lower()
    if gap <= 0:
        return [f"{label} ({_figure(reference)}) is not above {name} here: there is no gap to close."]
    return [
        f"{label} reaches {_figure(reference)} with target labels; the best arm without them closes "
        f"{100 * gain / gap:.0f} % of the {number(gap)} DSC between it and {name}."
    ]


def _choice(inputs: ReportInputs) -> list[str]:
    """What choosing without labels would have taken, and its price."""
    if inputs.label_free is None or inputs.label_free.empty:
        return []
    chosen = str(inputs.label_free["arm"][inputs.label_free["chosen"]].iloc[0])
    text = f"Without any target label one would have chosen {arm_label(chosen)}"
    if not inputs.target_scored():
        return [f"Ranked without any target label, {arm_label(chosen)} comes first. {NO_ACCURACY}"]
    if inputs.regret is None or inputs.regret.empty:
        return [f"{text}."]
    row = inputs.regret.iloc[0]
    if row["regret"] <= 0:
        return [f"{text}: also the best of the candidates on the test patients."]
    return [f"{text}, {number(row['regret'])} DSC short of the best candidate, {arm_label(row['oracle'])}."]


def _tiles(inputs: ReportInputs, best: str, row: pd.Series) -> list[Tile]:
    detail = f"{interval(row['low'], row['high'])} n = {int(row['n_patients'])}".strip()
    tiles = [
        Tile(f"Highest target DSC, on these test patients: {arm_label(best)}", number(row["mean"]), detail)
    ]
    shown = best
    if best == inputs.roles.baseline and inputs.row(inputs.roles.fused) is not None:
        shown = str(inputs.roles.fused)
    compared = inputs.to_role(shown, "baseline")
    baseline = arm_label(inputs.roles.baseline)
    if compared is not None:
        detail = f"{compared.bracket} {p_clause(compared.p_holm)}".strip()
        label = f"Target DSC, {arm_label(shown)} vs {baseline.lower()}"
        tiles.append(Tile(label, number(compared.difference, sign=True), detail, compared.tone))
    source, target = (inputs.row(inputs.roles.baseline, site) for site in ("source", "target"))
    if source is not None and target is not None:
        change = target["mean"] - source["mean"]
        detail = f"{number(source['mean'])} on source, {number(target['mean'])} on target"
        tiles.append(Tile(f"Change of device, {baseline.lower()}", number(change, sign=True), detail))
    if inputs.regret is not None and len(inputs.regret):
        regret = inputs.regret.iloc[0]
        detail = f"chose {arm_label(regret['chosen'])}, best was {arm_label(regret['oracle'])}"
        tiles.append(Tile("Regret of the label-free choice, DSC", number(regret["regret"]), detail))
    return tiles
