"""Nodes that ask trained classifiers, compare them and make the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.split import SplitSettings
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.classification.arms import ClassifierArms
from crossprobe.pipelines.classification.images import BY_IMAGE, labelled_rows
from crossprobe.pipelines.classification.settings import ClassifierPage, ClassifierScoring, ClassifierTraining
from crossprobe.pipelines.model import for_scoring
from crossprobe.training.settings import RuntimeSettings


def split_by_image(manifest: pd.DataFrame, settings: SplitSettings, site: str) -> dict[str, Any]:
    """Deals single images to parts, as a study without patients would: the control for the grouped split."""
    from crossprobe.data.split import split_patients

    # Every image passes for a patient of its own.
    split = split_patients(manifest.assign(patient=manifest["video"]), settings, site)
    return split.model_dump(mode="json") | {"unit": BY_IMAGE}


def predict_arm(
    checkpoint: Checkpoint,
    calibration: dict[str, Any],
    frames: FrameStore,
    split: dict[str, Any],
    stage: ClassifierTraining,
    scoring: ClassifierScoring,
    runtime: RuntimeSettings,
    arm_name: str,
) -> pd.DataFrame:
    """Answers for the test images of one site in every way of answering."""
    from crossprobe.evaluation.answers import answer_images
    from crossprobe.fusion.class_predictor import ClassifierPredictor
    from crossprobe.training.runtime import resolve

    predictor = ClassifierPredictor.from_checkpoint(
        checkpoint, resolve(for_scoring(runtime)), calibration["temperature"]
    )
    rows = labelled_rows(frames, split, "test", predictor.classes, stage.ignore_classes)
    table = answer_images(
        predictor, frames, rows, arm_name, scoring.batch_size, scoring.tta, scoring.mc_passes
    )
    # Where images were dealt out singly, nobody knew of patients.
    return table.assign(patient=table["video"]) if split.get("unit") == BY_IMAGE else table


def compare_classifiers(
    page: ClassifierPage, *predictions: pd.DataFrame, arms: ClassifierArms, study: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Joins ensembles and computes every table.

    Returns:
        Patient metrics, figures of every answer, table of arms, comparisons, confusion counts, referral
        curves.
    """
    from crossprobe.evaluation.answers import ensemble_predictions
    from crossprobe.evaluation.classification import (
        confusion_table,
        patient_metrics,
        referral_table,
        score_table,
    )
    from crossprobe.evaluation.classification_claimed import claims_of
    from crossprobe.evaluation.classifier_table import classifier_table
    from crossprobe.evaluation.statistics import comparisons

    everything = pd.concat(predictions, ignore_index=True)
    for name, ensemble in arms.ensembles.items():
        joined = ensemble_predictions(everything, name, ensemble.members)
        everything = pd.concat([everything, joined], ignore_index=True)
    scores = score_table(everything, page.baseline, page.statistics)
    patients = patient_metrics(everything)
    tests = comparisons(classifier_table(patients), page.families, page.statistics)
    claims = claims_of(study).accuracy if page.claimed else {}
    main = classifier_table(scores)
    main["claimed"] = [
        claims.get(arm, float("nan")) if (site, metric) == (arms.sites[-1], "accuracy") else float("nan")
        for arm, site, metric in zip(main["arm"], main["site"], main["metric"], strict=True)
    ]
    return (
        classifier_table(patients), scores, main, tests, confusion_table(everything),
        referral_table(everything),
    )  # fmt: skip


def measure_costs(
    frames: FrameStore,
    scoring: ClassifierScoring,
    runtime: RuntimeSettings,
    *loaded: Any,
    names: tuple[str, ...],
) -> pd.DataFrame:
    """Measures what every arm costs: parameters, operations, latency, and its training time."""
    import torch

    from crossprobe.evaluation.classifier_table import training_minutes
    from crossprobe.evaluation.speed import measure_speed
    from crossprobe.fusion.class_predictor import ClassifierPredictor
    from crossprobe.training.runtime import resolve

    machine = resolve(runtime)
    images = torch.from_numpy(frames.images(np.arange(min(8, len(frames))))).to(machine.device)
    rows = []
    for name, checkpoint, history in zip(names, loaded[::2], loaded[1::2], strict=True):
        predictor = ClassifierPredictor.from_checkpoint(checkpoint, machine)
        row = measure_speed(
            name, predictor.probabilities, images, (predictor.module,), scoring.speed_repeats, warm_up=1
        )
        row |= {
            "training_steps": checkpoint.provenance["steps"],
            "best_step": checkpoint.provenance["best_step"],
        }
        row |= {"training_minutes": training_minutes(history)}
        row |= {"training_images": checkpoint.provenance["training_frames"]}
        row |= {
            "start": checkpoint.provenance["start"]["from"],
            "backbone": checkpoint.config["model"]["backbone"],
        }
        rows.append(row)
    return pd.DataFrame(rows)


def draw_cams(
    frames: FrameStore,
    split: dict[str, Any],
    stage: ClassifierTraining,
    page: ClassifierPage,
    runtime: RuntimeSettings,
    *checkpoints: Checkpoint,
    names: tuple[str, ...],
) -> Figure:
    """Draws what arms look at on a few test images of different patients and classes."""
    from crossprobe.fusion.class_predictor import ClassifierPredictor
    from crossprobe.reporting.cam_panels import cam_panels
    from crossprobe.training.runtime import resolve

    machine = resolve(for_scoring(runtime))
    chosen = [name for name in names if page.cam_arms is None or name in page.cam_arms]
    predictors = {
        name: ClassifierPredictor.from_checkpoint(checkpoint, machine)
        for name, checkpoint in zip(names, checkpoints, strict=True)
        if name in chosen
    }
    classes = next(iter(predictors.values())).classes
    rows = labelled_rows(frames, split, "test", classes, stage.ignore_classes)
    return cam_panels(predictors, frames, rows, page.cam_images)


def watch_adaptation(stage: ClassifierTraining, *loaded: Any, names: tuple[str, ...]) -> pd.DataFrame:
    """Looks for collapse in every adversarial arm, and says so in the log."""
    from crossprobe.evaluation.adaptation_table import adaptation_table

    return adaptation_table(
        {name: (pair[0], pair[1]) for name, pair in zip(names, _pairs(loaded), strict=True)}, stage.dann
    )


def state_findings(
    page: ClassifierPage, parameters: dict[str, Any], adaptation: pd.DataFrame, arms: pd.DataFrame
) -> list[str]:
    """Says how domain and source accuracy went, and what adaptation brought, with its interval."""
    from crossprobe.pipelines.reporting.nodes import plain_parameters
    from crossprobe.reporting.adaptation_words import adaptation_sentences

    zero_shift = sites_are_alike(plain_parameters(parameters))
    return adaptation_sentences(adaptation, arms, page.baseline, zero_shift)


def sites_are_alike(parameters: dict[str, Any]) -> bool:
    """Whether a run is the control in which source and target do not differ.

    Args:
        parameters: Plain parameters of the run.

    Returns:
        True for the phantom without shift and for two halves of one device.
    """
    source, target = (parameters[site]["raw"] for site in ("source", "target"))
    if source["kind"] == target["kind"] == "phantom":
        return parameters["phantom"]["severity"] == 0
    halves = {raw.get("half", "all") for raw in (source, target)}
    same = all(source.get(key) == target.get(key) for key in ("kind", "folder", "device"))
    return same and halves == {"first", "second"}


def draw_charts(*histories: pd.DataFrame, names: tuple[str, ...]) -> tuple[Figure, pd.DataFrame]:
    """Draws the training curves that kedro-viz and MLflow show beside the report; joins the histories."""
    from crossprobe.reporting.charts import training_curves

    table = pd.concat(
        [history.assign(stage="training", arm=name) for name, history in zip(names, histories, strict=True)],
        ignore_index=True,
    )
    shown = ("loss", "cross_entropy", "accuracy", "balanced_accuracy", "domain_loss", "domain_accuracy")
    return training_curves(table[table["metric"].isin(shown)]), table


def make_report(
    stage: ClassifierTraining,
    page: ClassifierPage,
    parameters: dict[str, Any],
    *loaded: Any,
    names: tuple[str, ...],
    study: str,
) -> str:
    """Makes the page from tables, hashes and pictures."""
    from crossprobe.pipelines.reporting.nodes import plain_parameters
    from crossprobe.reporting.classification_report import ClassificationInputs, render_classification

    left = dict(zip(names, loaded, strict=True))
    return render_classification(
        ClassificationInputs(
            study=study, title=page.title, subtitle=page.subtitle, baseline=page.baseline,
            claimed=page.claimed, statistics=page.statistics, left=left,
            parameters=plain_parameters(parameters.get(study, {})),
        )
    )  # fmt: skip


def _pairs(loaded: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    return list(zip(loaded[::2], loaded[1::2], strict=True))
