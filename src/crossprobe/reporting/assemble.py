"""Gathers what a run left, by name, into the inputs of its report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    inputs = ReportInputs(
        title=title,
        subtitle=subtitle,
        roles=roles,
        statistics=statistics,
        patients=left["metrics"],
        arms=left["arms"],
        # A CSV file keeps no empty text: what was written as none comes back as NaN.
        comparisons=left["comparisons"].fillna({"note": ""}),
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
        images=_images(left, scored="target" in set(left["arms"]["site"])),
        reliability=left.get("reliability"),
        pretrained=pretrained,
        saw_target_labels=saw_target_labels,
    )
    if not ablations:
        return inputs
    return replace(inputs, extra=[ablation_section(inputs.arms, ablations, inputs.left_out())])


def _stacked(left: Mapping[str, Any], kind: str) -> pd.DataFrame | None:
    tables = [table for name, table in left.items() if name.rpartition(".")[2].startswith(kind)]
    return pd.concat(tables, ignore_index=True) if tables else None


def _images(left: Mapping[str, Any], scored: bool) -> dict[str, list[ReportImage]]:
    images: dict[str, list[ReportImage]] = {}
    if "panels" in left:
        caption = "Target test frames, chosen by patient before any score was known"
        caption += "; the figure is DSC." if scored else ". Nobody has outlined them, so none has a score."
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
            caption = f"{stage.capitalize()}: one frame a patient, "
            caption += (
                "below with the reference outline." if _outlined(left, stage) else "none of them outlined."
            )
            images.setdefault("phantom" if phantom else "scans", []).append(ReportImage(content, caption))
    return images


def _outlined(left: Mapping[str, Any], site: str) -> bool:
    """Whether anybody has drawn a reference at a site."""
    cohort = left.get(f"{site}.cohort")
    return cohort is None or bool(cohort["labelled_frames"].sum())
