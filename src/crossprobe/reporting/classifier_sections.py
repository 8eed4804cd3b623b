"""Sections about classifiers: the arms, single classes, ways of answering, adaptation, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from crossprobe.evaluation.class_metrics import LOWER_IS_BETTER, PER_CLASS
from crossprobe.evaluation.classification_claimed import claims_of
from crossprobe.reporting import charts
from crossprobe.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Details,
    Paragraph,
    Row,
    Section,
    Table,
    chart,
    plain_table,
)
from crossprobe.reporting.classifier_charts import adversary_plot, referral_plot
from crossprobe.reporting.style import arm_colours, arm_label, metric_label
from crossprobe.reporting.wording import MISSING, Compared, interval, number, plural

MAIN = ("accuracy", "balanced_accuracy", "auroc", "f1_macro", "precision_macro", "fpr_macro")
ANSWERS = {
    "plain": "plain",
    "calibrated": "temperature",
    "tta": "test-time augmentation",
    "mc_dropout": "MC dropout",
}
HEADLINE = "balanced_accuracy"


def arms_section(arms: pd.DataFrame, baseline: str | None, study: str, claimed: bool) -> Section:
    """Makes the chart and the tables of arms.

    Args:
        arms: From `classifier_table`, with `claimed`.
        baseline: Arm that others are compared with.
        study: Name of the study, for its claims.
        claimed: Whether claims are shown.

    Returns:
        The section.
    """
    drawn = arms.rename(columns={"value": "mean"})
    blocks: list[Block] = [
        chart(
            charts.arms_dot_plot(drawn, HEADLINE),
            "Balanced accuracy of every arm with its bootstrap interval over patients.",
        )
    ]
    sites = sorted(dict.fromkeys(arms["site"]), key=lambda site: site != "target")
    blocks += [_site_table(arms[arms["site"] == site], site, baseline) for site in sites]
    if claimed and (reason := claims_of(study).reason):
        blocks.append(Paragraph(reason, "note"))
    return Section("arms", "The arms", tuple(blocks))


def _site_table(here: pd.DataFrame, site: str, baseline: str | None) -> Table:
    colours = arm_colours(list(dict.fromkeys(here["arm"])))
    names = [name for name in MAIN if name in set(here["metric"])]
    shown = by_arm_and_metric(here)
    rows = []
    for arm in colours:
        cells = []
        for name in names:
            row = shown[arm, name]
            claim = f"claimed {number(row['claimed'])}" if math.isfinite(row["claimed"]) else ""
            cells.append(Cell(number(row["value"]), interval(row["low"], row["high"]), claim))
        if baseline is not None:
            cells.append(_difference(shown[arm, HEADLINE]))
        size = shown[arm, names[0]]
        note = f"n = {int(size['n_patients'])}, {plural(int(size['n_images']), 'image')}"
        rows.append(Row(arm_label(arm), tuple(cells), colours[arm], note))
    columns = [metric_label(name) + (" ↓" if name in LOWER_IS_BETTER else "") for name in names]
    if baseline is not None:
        columns.append(f"balanced accuracy less {arm_label(baseline).lower()}")
    return Table(
        f"{site.capitalize()} test patients", "Arm", tuple(columns), tuple(rows),
        note="Patients count alike; intervals are bootstraps over patients or groups of near-duplicates. "
        "AUROC: mean over classes, one against the rest.",
    )  # fmt: skip


def by_arm_and_metric(table: pd.DataFrame) -> dict[tuple[str, str], dict[Any, Any]]:
    """Rows of a table of one site and answer, by arm and metric."""
    return {(str(row["arm"]), str(row["metric"])): row for row in table.to_dict("records")}


def _difference(row: dict[Any, Any]) -> Cell:
    difference, low, high = (float(row[f"baseline_{part}"]) for part in ("difference", "low", "high"))
    if not math.isfinite(difference):
        return Cell(MISSING)
    compared = Compared(difference, low, high, math.nan, int(row["n_patients"]), HEADLINE)
    return Cell(number(difference, sign=True), compared.bracket, tone=compared.tone)


def classes_section(scores: pd.DataFrame, confusion: pd.DataFrame) -> Section:
    """Makes precision, recall, F1 and false positive rate of each class, and the confusion matrices.

    Args:
        scores: Plain answers of `score_table`.
        confusion: From `confusion_table`.

    Returns:
        The section.
    """
    blocks: list[Block] = []
    classes = list(dict.fromkeys(confusion["class"]))
    for site, here in scores.groupby("site", sort=False):
        table = by_arm_and_metric(here)
        rows = []
        for arm in dict.fromkeys(here["arm"].astype(str)):
            cells = []
            for name in (f"{kind}_{label}" for label in classes for kind in PER_CLASS):
                row = table[arm, name]
                cells.append(Cell(number(row["value"]), interval(row["low"], row["high"])))
            rows.append(Row(arm_label(str(arm)), tuple(cells)))
        columns = ("precision", "recall", "F1", "FPR") * len(classes)
        groups = tuple((label, len(PER_CLASS)) for label in classes)
        blocks.append(Table(f"Each class, {site} test", "Arm", columns, tuple(rows), groups))
    plain = confusion[confusion["answer"] == "plain"]
    matrices: list[Block] = []
    for (model, where), own in plain.groupby(["arm", "site"], sort=False):
        counts = own.pivot_table(index="class", columns="predicted", values="images", sort=False)
        largest = max(1.0, float(counts.to_numpy().max()))
        lines = tuple(
            Row(str(true), tuple(Cell(f"{int(n):,}", heat=float(n) / largest) for n in line))
            for true, line in zip(counts.index, counts.to_numpy(), strict=True)
        )
        columns = tuple(f"called {name}" for name in counts.columns)
        matrices.append(Table(f"{arm_label(str(model))}, {where} test: images", "Truth", columns, lines))
    blocks.append(Details(f"Confusion matrices ({len(matrices)})", tuple(matrices)))
    return Section("classes", "Each class", tuple(blocks))


def answers_section(scores: pd.DataFrame, referral: pd.DataFrame) -> Section:
    """Compares the ways of answering, and shows what referring the unsure cases would bring.

    Args:
        scores: From `score_table`.
        referral: From `referral_table`.

    Returns:
        The section.
    """
    site = str(scores["site"].iloc[-1])
    here = scores[scores["site"] == site].set_index(["arm", "answer", "metric"])["value"]
    names = ("balanced_accuracy", "auroc", "nll", "brier", "ece", "aurc")
    rows = []
    for arm in dict.fromkeys(scores.loc[scores["answer"] == "calibrated", "arm"]):
        for answer, words in ANSWERS.items():
            if (arm, answer, names[0]) in here.index:
                cells = tuple(Cell(number(here[(arm, answer, name)])) for name in names)
                rows.append(Row(arm_label(str(arm)), (Cell(words, numeric=False), *cells)))
    columns = ("answer", *(metric_label(name) + (" ↓" if name in LOWER_IS_BETTER else "") for name in names))
    blocks: list[Block] = [
        Table(
            f"Ways of answering, {site} test", "Arm", columns, tuple(rows),
            note="The temperature is fitted on validation images of the site that the arm learned from.",
        ),
        chart(
            referral_plot(referral, site),
            "What is left after the least sure answers (MC dropout where there is dropout) go to an expert.",
        ),
    ]  # fmt: skip
    return Section("answers", "How sure the answers are", tuple(blocks))


def adaptation_section(
    adaptation: pd.DataFrame | None, histories: pd.DataFrame, findings: Sequence[str]
) -> Section | None:
    """Shows how adversarial training went, with warnings of collapse.

    Args:
        adaptation: From `adaptation_table`; None where no arm adapts.
        histories: Long table of all arms.
        findings: From `adaptation_sentences`.

    Returns:
        The section, or None.
    """
    if adaptation is None or adaptation.empty:
        return None
    blocks: list[Block] = [
        Paragraph(
            "Domain-adversarial training needs images of both sites in one place: it is for sites that may "
            "pool images. A total loss near 0 would mean that the discriminator had won, so its parts are "
            "shown apart: at a domain accuracy of 0.50 and a domain loss of 0.693 the sites cannot be told "
            "apart."
        ),
        Bullets(tuple(findings)),
    ]
    for row in adaptation.to_dict("records"):
        if isinstance(row["warnings"], str) and row["warnings"]:
            text = (
                f"{arm_label(row['arm'])}, {row['moment']} weights (step {row['step']}): {row['warnings']}."
            )
            blocks.append(Paragraph(text, "warning"))
    shown = adaptation.drop(columns="warnings").assign(arm=adaptation["arm"].map(arm_label))
    shown.columns = [str(name).replace("target_share_", "target called ") for name in shown.columns]
    blocks.append(plain_table(shown, "Held-out images, from the first validation to the last"))
    blocks.append(
        chart(
            adversary_plot(histories),
            "Thin: training batches. Thick: held-out images. Dashed: a discriminator that cannot tell.",
        )
    )
    return Section("adaptation", "Adversarial adaptation", tuple(blocks))


def costs_section(costs: pd.DataFrame, arms: pd.DataFrame) -> Section:
    """Shows cost beside accuracy.

    Args:
        costs: A row an arm, from `measure_costs`.
        arms: From `classifier_table`.

    Returns:
        The section.
    """
    site = str(arms["site"].iloc[-1])
    figures = arms[(arms["site"] == site) & (arms["metric"] == HEADLINE)].set_index("arm")["value"]
    rows = []
    for row in costs.to_dict("records"):
        cells = (
            Cell(str(row["backbone"]), numeric=False),
            Cell(str(row["start"]), numeric=False),
            Cell(number(float(figures.get(row["arm"], math.nan)))),
            Cell(f"{row['parameters'] / 1e6:.2f}"),
            Cell(f"{row['gflop']:.2f}"),
            Cell(f"{row['latency_ms_p50']:.1f}", f"p95 {row['latency_ms_p95']:.1f}"),
            Cell(f"{int(row['training_images']):,}"),
            Cell(f"{int(row['training_steps']):,}", f"kept {int(row['best_step']):,}"),
            Cell(f"{row['training_minutes']:.1f}"),
        )
        rows.append(Row(arm_label(row["arm"]), cells))
    columns = (
        "backbone", "start", f"{site} balanced accuracy", "parameters (M)", "GFLOP an image", "latency (ms)",
        "training images", "steps", "training (min)",
    )  # fmt: skip
    devices = ", ".join(dict.fromkeys(costs["device"].astype(str)))
    note = f"Measured on {devices}. Training time: median step times steps, validations and pauses left out."
    return Section("costs", "Cost", (Table("Cost beside accuracy", "Arm", columns, tuple(rows), note=note),))
