"""The report of a study of classifiers: one page that holds everything it shows."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from crossprobe.evaluation.comparison_settings import ArmRoles, StatisticsSettings
from crossprobe.reporting import arm_sections, charts, classifier_sections, run_sections
from crossprobe.reporting.assemble import PACKAGES
from crossprobe.reporting.blocks import Block, Bullets, Paragraph, ReportImage, Section, Tile, Tiles, chart
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.report import render_page
from crossprobe.reporting.style import arm_label, metric_label
from crossprobe.reporting.wording import HELPS, Compared, interval, number, verdict

SITES = ("source", "second_source", "target")
CURVES = ("loss", "cross_entropy", "accuracy", "balanced_accuracy")
LIMITS = (
    "Research software and no diagnosis: a lesion or plane that is named rightly here may be missed "
    "elsewhere.",
    "Patients, or groups of near-duplicates, are the samples; an interval that covers zero is no proof of "
    "equality.",
    "One split and one training seed unless the table of arms says otherwise: the interval does not hold "
    "the luck of training.",
    "Grad-CAM shows where a network looked for its own answer. It does not say that the answer is right.",
)


@dataclass(frozen=True)
class ClassificationInputs:
    """What the page is made from.

    Attributes:
        study: Name of the study.
        title: Title of the page.
        subtitle: One line below it.
        baseline: Arm that others are compared with, or None.
        claimed: Whether claims are shown.
        statistics: How intervals were drawn.
        left: Results by name: `metrics, scores, arms, comparisons, confusion, referral, costs, histories`,
            `cams` as PNG, `adaptation` and `findings` where an arm adapts, and for each site facts, cohort,
            contact sheet and rejections.
        parameters: The study's parameters.
    """

    study: str
    title: str
    subtitle: str
    baseline: str | None
    claimed: bool
    statistics: StatisticsSettings
    left: Mapping[str, Any]
    parameters: Mapping[str, Any]


def render_classification(inputs: ClassificationInputs) -> str:
    """Makes the page.

    Args:
        inputs: What it is made from.

    Returns:
        HTML with style and pictures inside; it needs no network and no script.
    """
    left, run = inputs.left, _as_run(inputs)
    plain = left["scores"][left["scores"]["answer"] == "plain"]
    cams = ReportImage(
        left["cams"],
        "Test images of different patients, chosen before any answer was known; the colour shows what "
        "speaks for the class that the arm names.",
    )
    sections = [
        _summary(inputs),
        run_sections.data_section(run),
        classifier_sections.arms_section(left["arms"], inputs.baseline, inputs.study, inputs.claimed),
        arm_sections.paired_tests_section(run),
        classifier_sections.adaptation_section(
            left.get("adaptation"), left["histories"], left.get("findings", ())
        ),
        classifier_sections.classes_section(plain, left["confusion"]),
        classifier_sections.answers_section(left["scores"], left["referral"]),
        Section("cams", "What the arms look at", (cams.block(),)),
        classifier_sections.costs_section(left["costs"], left["arms"]),
        _curves(left["histories"]),
        run_sections.picture_section(run, "scans"),
        run_sections.rejections_section(run),
        Section("limits", "Limits", (Bullets(LIMITS),)),
    ]
    return render_page(
        inputs.title, inputs.subtitle, [section for section in sections if section is not None]
    )


def _as_run(inputs: ClassificationInputs) -> ReportInputs:
    """The same results as the sections shared with the main report want them."""
    left = inputs.left
    facts = {site: left[f"{site}.facts"] for site in SITES if f"{site}.facts" in left}
    facts["software"] = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    scans = [
        ReportImage(
            left[f"{site}.contact_sheet"], f"{site.replace('_', ' ').capitalize()}: one frame a patient."
        )
        for site in SITES
        if f"{site}.contact_sheet" in left
    ]
    return ReportInputs(
        title=inputs.title,
        patients=left["metrics"],
        arms=left["arms"],
        comparisons=left["comparisons"],
        roles=ArmRoles(baseline=inputs.baseline or ""),
        statistics=inputs.statistics,
        rejections=_stacked(left, "rejected_at_"),
        cohort=_stacked(left, "cohort"),
        facts=facts,
        parameters=inputs.parameters,
        images={"scans": scans},
    )


def _stacked(left: Mapping[str, Any], kind: str) -> pd.DataFrame | None:
    tables = [table for name, table in left.items() if name.rpartition(".")[2].startswith(kind)]
    return pd.concat(tables, ignore_index=True) if tables else None


def _summary(inputs: ClassificationInputs) -> Section:
    left = inputs.left
    arms, costs = left["arms"], left["costs"]
    site = "target" if "target" in set(arms["site"]) else str(arms["site"].iloc[-1])
    headline = classifier_sections.HEADLINE
    here = arms[(arms["site"] == site) & (arms["metric"] == headline)]
    tiles = [
        Tile(
            arm_label(str(row["arm"])),
            number(row["value"]),
            f"{interval(row['low'], row['high'])} n = {int(row['n_patients'])}",
        )
        for row in here.to_dict("records")
    ]
    blocks: list[Block] = [
        Paragraph(f"{metric_label(headline).capitalize()} on {site} test patients, with intervals."),
        Tiles(tuple(tiles)),
    ]
    starts = dict(zip(costs["arm"], costs["start"], strict=True))
    words = {"random": "random weights", "timm": "weights of timm's hub", "file": "weights from a local file"}
    named = [f"{arm_label(arm)}: {words[start]}" for arm, start in starts.items() if start in words]
    if set(starts.values()) <= {"random", "arm"}:
        named = ["every arm, at first, from random weights: no pretrained weights were used"]
    blocks.append(Paragraph(f"Start: {'; '.join(named)}."))
    sentences = []
    for row in here.to_dict("records"):
        parts = [float(row[f"baseline_{part}"]) for part in ("difference", "low", "high")]
        if inputs.baseline and parts[0] == parts[0]:
            compared = Compared(parts[0], parts[1], parts[2], float("nan"), int(row["n_patients"]), headline)
            label = arm_label(str(row["arm"]))
            sentences.append(
                f"{label} {verdict(compared, HELPS)}: {compared.text} against {arm_label(inputs.baseline)}."
            )
    if sentences:
        blocks.append(Bullets(tuple(sentences)))
    adaptation = left.get("adaptation")
    if adaptation is not None:
        for row in adaptation[adaptation["moment"] == "kept"].to_dict("records"):
            if isinstance(row["warnings"], str) and row["warnings"]:
                blocks.append(Paragraph(f"{arm_label(row['arm'])}: {row['warnings']}.", "warning"))
    return Section("summary", "Summary", tuple(blocks))


def _curves(histories: pd.DataFrame) -> Section:
    shown = histories[histories["metric"].isin(CURVES)]
    drawn = chart(
        charts.training_curves(shown, None),
        "Thin lines are training, thick ones validation.",
    )
    return Section("curves", "Training curves", (drawn,))
