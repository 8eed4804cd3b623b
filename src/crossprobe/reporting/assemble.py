"""Gathers what a run left, by name, into the inputs of its report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from crossprobe.evaluation.arms_table import ArmRoles
from crossprobe.evaluation.statistics import StatisticsSettings
from crossprobe.reporting.ablation_sections import AblationTable, ablation_section
from crossprobe.reporting.blocks import ReportImage
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.style import arm_label

SITES = ("source", "target")
PACKAGES = ("crossprobe", "torch", "monai", "kedro", "numpy")


def assemble(
    title: str,
    subtitle: str,
    roles: ArmRoles,
    statistics: StatisticsSettings,
    parameters: Mapping[str, Any],
    left: Mapping[str, Any],
    ablations: Sequence[AblationTable] = (),
    pretrained: Sequence[str] | None = None,
    saw_target_labels: Sequence[str] | None = None,
) -> ReportInputs:
    """Sorts a run's results into the report.

    Args:
        title: Title of the page.
        subtitle: One line below it.
        roles: Which arm plays which part.
        statistics: How intervals were drawn.
        parameters: The run's parameters.
        left: Results by name: the tables `metrics, arms, comparisons, breakdown, empty_counts, label_free,
            regret, histories, speed`, the pictures `panels` and `weights` as PNG, for each site
            `<site>.facts`, `<site>.cohort`, `<site>.contact_sheet` and tables `<site>.rejected_at_…`, and
            pictures `pretrain.<arm>.reconstructions`. Only the first three are needed.
        ablations: Questions set side by side in tables.
        pretrained: Arms that start from self-supervision on the target.
        saw_target_labels: Arms that learned from target labels.

    Returns:
        The inputs of `render_report`.
    """
    facts = {site: left[f"{site}.facts"] for site in SITES if f"{site}.facts" in left}
    facts["software"] = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return ReportInputs(
        title=title,
        subtitle=subtitle,
        roles=roles,
        statistics=statistics,
        patients=left["metrics"],
        arms=left["arms"],
        comparisons=left["comparisons"],
        breakdown=left.get("breakdown"),
        empty_counts=left.get("empty_counts"),
        label_free=left.get("label_free"),
        regret=left.get("regret"),
        histories=left.get("histories"),
        speed=left.get("speed"),
        rejections=_stacked(left, "rejected_at_"),
        cohort=_stacked(left, "cohort"),
        facts=facts,
        parameters=parameters,
        images=_images(left),
        reliability=left.get("reliability"),
        pretrained=pretrained,
        saw_target_labels=saw_target_labels,
        extra=[ablation_section(left["arms"], ablations)] if ablations else [],
    )


def _stacked(left: Mapping[str, Any], kind: str) -> pd.DataFrame | None:
    tables = [table for name, table in left.items() if name.rpartition(".")[2].startswith(kind)]
    return pd.concat(tables, ignore_index=True) if tables else None


def _images(left: Mapping[str, Any]) -> dict[str, list[ReportImage]]:
    images: dict[str, list[ReportImage]] = {}
    if "panels" in left:
        caption = "Target test frames, chosen by patient before any score was known; the figure is DSC."
        images["panels"] = [ReportImage(left["panels"], caption)]
    if "weights" in left:
        caption = "Weight of each branch at every pixel; the branches' weights add to 1."
        images["weights"] = [ReportImage(left["weights"], caption)]
    for name, content in left.items():
        stage, _, arm = name.removesuffix(".reconstructions").partition(".")
        if name.endswith(".reconstructions"):
            caption = f"{arm_label(arm)}: unlabelled target frames of the selection part, never trained on."
            images.setdefault("reconstruction", []).append(ReportImage(content, caption))
        elif name.endswith(".contact_sheet"):
            phantom = left.get(f"{stage}.facts", {}).get("data") == "phantom"
            caption = f"{stage.capitalize()}: one frame a patient, below with the reference outline."
            images.setdefault("phantom" if phantom else "scans", []).append(ReportImage(content, caption))
    return images
