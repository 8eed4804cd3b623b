"""Nodes that compare the arms of a study, choose without labels, and make the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_store import FrameStore
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.pipelines.arms import Arms, repeated
from crossprobe.pipelines.evaluation.nodes import SCORING_CODE
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.fusion.settings import FusedAnswers
from crossprobe.pipelines.model import for_scoring
from crossprobe.pipelines.remembered import remembered
from crossprobe.pipelines.reporting.members import Members
from crossprobe.pipelines.reporting.settings import ChoiceSettings, ComparisonSettings, ReportSettings
from crossprobe.training.settings import RuntimeSettings


def compare_arms(
    settings: ComparisonSettings, *scores: pd.DataFrame, seeds: Sequence[tuple[str, int]] | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Averages frames to patients and compares the arms as declared.

    Args:
        settings: What is compared.
        scores: Frame scores, one table an arm, repeat and site.
        seeds: Arm and repeat of every table where arms were trained several times.

    Returns:
        Patient metrics, table of arms, comparisons, breakdown, and counts of empty masks.
    """
    from crossprobe.evaluation.aggregate import breakdown, empty_counts, patient_scores
    from crossprobe.evaluation.arms_table import arms_table
    from crossprobe.evaluation.statistics import comparisons

    if seeds is not None:
        scores = tuple(as_repeat(table, *seed) for table, seed in zip(scores, seeds, strict=True))
    frames = pd.concat(scores, ignore_index=True)
    order = {arm: place for place, arm in enumerate(dict.fromkeys(frames["arm"]))}
    patients = patient_scores(frames).sort_values("arm", key=lambda arm: arm.map(order), kind="stable")
    tests = comparisons(patients, settings.families, settings.statistics)
    arms = arms_table(patients, settings.roles, tests, settings.statistics)
    if not settings.claimed:
        arms = arms.assign(claimed=float("nan"))
    return patients, arms, tests, breakdown(frames), empty_counts(frames)


def as_repeat(scores: pd.DataFrame, arm: str, repeat: int) -> pd.DataFrame:
    """Calls a repeated arm by the name of the arm and keeps which repeat it was.

    Args:
        scores: Frame scores of `repeated(arm, repeat)`; a fused arm has one name a way of fusing.
        arm: Name of the arm.
        repeat: Which repeat.

    Returns:
        The scores with a column `seed`.
    """
    names = arm + scores["arm"].str.removeprefix(repeated(arm, repeat))
    return scores.assign(arm=names, seed=repeat)


@remembered(*SCORING_CODE)
def choose_without_labels(
    frames: FrameStore,
    split: dict[str, Any],
    choice: ChoiceSettings,
    comparison: ComparisonSettings,
    fusion: FusedAnswers,
    scoring: SiteScoring,
    runtime: RuntimeSettings,
    folders: Folders,
    *loaded: Any,
    members: Members,
) -> pd.DataFrame:
    """Ranks the arms on unlabelled frames of the target's selection part."""
    from crossprobe.evaluation.label_free import label_free_table
    from crossprobe.evaluation.label_free_frames import spread_over_videos, unlabelled_frames

    ensembles = members.ensembles(loaded, fusion, for_scoring(runtime))
    candidates = [name for ensemble in ensembles.values() for name in ensemble.answers]
    rows = spread_over_videos(frames, split["parts"]["selection"], choice.frames_per_video)
    seen = unlabelled_frames(ensembles, frames, rows, scoring.batch_size)
    reference = comparison.roles.reference
    return label_free_table(
        seen,
        candidates,
        comparison.roles.baseline,
        voters=members.names,
        threshold=scoring.scores.threshold,
        forbidden=[reference] if reference else [],
        made_of={arm: ensemble.branch_names for ensemble in ensembles.values() for arm in ensemble.answers},
    )


def regret_of_choice(label_free: pd.DataFrame, arms: pd.DataFrame) -> pd.DataFrame:
    """Says what choosing without labels cost, now that the test labels are open, if there are any."""
    from crossprobe.evaluation.label_free import regret

    target = arms[(arms["site"] == "target") & (arms["metric"] == "dsc")]
    return regret(label_free, dict(zip(target["arm"], target["mean"], strict=True)))


def draw_panels(
    frames: FrameStore,
    split: dict[str, Any],
    settings: ReportSettings,
    fusion: FusedAnswers,
    runtime: RuntimeSettings,
    *loaded: Any,
    members: Members,
) -> Figure | tuple[Figure, Figure]:
    """Draws every arm, and fusion weights if any are fused, on target test frames of different patients.

    Frames with a reference where there are labels, else without.
    """
    from crossprobe.reporting.draw_panels import draw

    panels, weights = draw(
        members.ensembles(loaded, fusion, for_scoring(runtime)),
        frames,
        split["parts"]["test"],
        settings.panels,
        settings.panel_arms,
    )
    return panels if weights is None else (panels, weights)


@remembered(*SCORING_CODE)
def measure_calibration(
    frames: FrameStore,
    split: dict[str, Any],
    fusion: FusedAnswers,
    scoring: SiteScoring,
    runtime: RuntimeSettings,
    folders: Folders,
    *loaded: Any,
    members: Members,
) -> pd.DataFrame:
    """Pools target test pixels of every arm into the table behind a reliability diagram."""
    from crossprobe.evaluation.calibration import reliability_table
    from crossprobe.evaluation.score_site import labelled_probabilities

    rows = frames.rows(split["parts"]["test"], labelled=True)
    ensembles = members.ensembles(loaded, fusion, for_scoring(runtime))
    tables = [
        reliability_table(
            arm,
            labelled_probabilities(ensemble, arm, frames, rows, scoring.batch_size),
            scoring.scores.calibration_bins,
        )
        for ensemble in ensembles.values()
        for arm in ensemble.answers
    ]
    return pd.concat(tables, ignore_index=True)


def measure_speed(
    frames: FrameStore,
    settings: ReportSettings,
    fusion: FusedAnswers,
    runtime: RuntimeSettings,
    *loaded: Any,
    members: Members,
) -> pd.DataFrame:
    """Times one arm and each fused one on this machine, from frames to fused probabilities."""
    import dataclasses

    import numpy as np
    import torch

    from crossprobe.evaluation.speed import measure_speed as measure
    from crossprobe.training.runtime import resolve

    ensembles = members.ensembles(loaded, fusion, runtime)
    frames_timed = frames.images(np.arange(min(settings.speed_batch, len(frames))))
    images = torch.from_numpy(frames_timed).to(resolve(runtime).device)
    rows = []
    alone = [name for name in ensembles if name in members.names]
    together = [name for name in ensembles if name in members.fused()]
    for ensemble in (ensembles[name] for name in [*alone[:1], *together]):
        arm = next(iter(ensemble.answers))
        timed = ensemble.only(arm)
        modules = tuple(branch.module for branch in ensemble.predictor.branches)
        counted = dataclasses.replace(timed, predictor=ensemble.predictor.in_single_precision())
        rows.append(
            measure(arm, timed.predict, images, modules, settings.speed_repeats, counted=counted.predict)
        )
    return pd.DataFrame(rows)


def draw_charts(
    arms: pd.DataFrame,
    patients: pd.DataFrame,
    comparison: ComparisonSettings,
    *histories: pd.DataFrame,
    stages: dict[str, str],
) -> tuple[Figure, Figure, Figure, pd.DataFrame]:
    """Draws the charts that kedro-viz and MLflow show beside the report.

    Returns:
        Arms with intervals, paired differences, training curves, and the histories as one table.
    """
    from crossprobe.reporting.charts import chart_figures

    table = pd.concat(
        [
            history.assign(stage=stage, arm=name.partition(".")[2])
            for (name, stage), history in zip(stages.items(), histories, strict=True)
        ],
        ignore_index=True,
    )
    figures = chart_figures(arms, patients, comparison.roles, histories=table)
    return figures["arms"], figures["differences"], figures["curves"], table


def make_report(
    settings: ReportSettings,
    comparison: ComparisonSettings,
    parameters: dict[str, Any],
    *loaded: Any,
    names: tuple[str, ...],
    arms: Arms,
) -> str:
    """Makes the page from tables, hashes and pictures."""
    from crossprobe.reporting.assemble import assemble
    from crossprobe.reporting.report import render_report

    return render_report(
        assemble(
            settings.title,
            settings.subtitle + (f"; every arm trained {arms.repeats} times" if arms.repeats > 1 else ""),
            comparison.roles,
            comparison.statistics,
            plain_parameters(parameters),
            dict(zip(names, loaded, strict=True)),
            settings.ablations,
            pretrained=[name for name, arm in arms.finetuning.items() if arm.start in arms.pretraining],
            saw_target_labels=[name for name, arm in arms.finetuning.items() if arm.site == "target"],
        )
    )


def plain_parameters(value: Any) -> Any:
    """Turns typed parameters back into what the YAML says."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain_parameters(inner) for key, inner in value.items()}
    return value
