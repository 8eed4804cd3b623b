"""Nodes that train one classifier and fit its temperature."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.classification.arms import ClassifierArm
from crossprobe.pipelines.classification.images import (
    check_training,
    few_labels,
    labelled_rows,
    part_rows,
    study_classes,
)
from crossprobe.pipelines.classification.settings import ClassifierTraining
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import for_scoring
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.models.classifier import Classifier

log = logging.getLogger(__name__)

# The part that chooses weights: never target labels, except for the reference that learns from them anyway.
VALIDATION_PART = {"source": "val", "second_source": "val", "target": "selection"}


class Labelled(NamedTuple):
    """Labelled images of one site."""

    frames: FrameStore
    split: dict[str, Any]
    rows: np.ndarray


def train_classifier(
    stage: ClassifierTraining,
    arm: ClassifierArm,
    folders: Folders,
    runtime: RuntimeSettings,
    *data: Any,
    title: str,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Trains one arm.

    `data` is what `pipeline.training_inputs` names: store and split of each site whose labels are used, then
    the unlabelled target where the arm adapts, then the checkpoint it goes on from.
    """
    from crossprobe.fusion.class_predictor import FORM
    from crossprobe.training.runtime import resolve
    from crossprobe.training.session import TrainingSession

    changes = {"model": arm.model, "training": arm.training, "augment": arm.augment, "dann": arm.dann}
    settings = stage.for_arm(changes, arm.seed)
    sites = [(data[2 * place], data[2 * place + 1]) for place in range(len(arm.labels_of))]
    rest = data[2 * len(arm.labels_of) :]
    classes = study_classes(*sites[0], settings.classes, settings.ignore_classes)
    labelled = [_labelled(frames, split, arm, classes, settings) for frames, split in sites]
    check_training(labelled[0].frames, labelled[0].rows, classes, title)
    validation = _validation_rows(labelled[0], arm, classes, settings)
    if arm.labels_per_class is not None:
        # No held-out label chooses these weights: the budget is short, and its last step is kept.
        settings = settings.model_copy(
            update={"training": settings.training.model_copy(update={"keep": "last"})}
        )
    module, started = _start(settings, classes, rest[-1] if arm.start else None)
    scaling = _scaling(settings, labelled, rest[-1] if arm.start else None)
    unlabelled = (rest[0], rest[1]) if arm.adapt == "dann" else None
    other = _identity_of_others(labelled[1:], unlabelled)
    session = TrainingSession(
        title, labelled[0].frames, labelled[0].rows, validation, settings.training, resolve(runtime),
        folders.progress,
        (module.config, settings.augment, settings.loss, settings.dann, classes, scaling, other),
    )  # fmt: skip
    task, prefix = _task(
        module, labelled, validation, unlabelled, settings, classes, scaling, session.runtime
    )
    result = session.run(task)
    config = {
        "form": FORM,
        "model": module.config.model_dump(mode="json"),
        "scaling": scaling.model_dump(mode="json"),
    }
    weights = {
        name.removeprefix(prefix): value for name, value in result.weights.items() if name.startswith(prefix)
    }
    counts = {name: int(count) for name, count in zip(classes, task_counts(task), strict=True)}
    provenance = session.provenance(result) | {"start": started, "training_images_by_class": counts}
    provenance["training_frames"] = sum(counts.values())
    return Checkpoint(weights, config, provenance), result.history


def task_counts(task: Any) -> np.ndarray:
    """Counts the training images of each class of either kind of task."""
    return getattr(task, "labelled", task).training.counts()


def _labelled(
    frames: FrameStore, split: dict[str, Any], arm: ClassifierArm, classes: tuple[str, ...], settings: Any
) -> Labelled:
    rows = labelled_rows(frames, split, "train", classes, settings.ignore_classes)
    if arm.labels_per_class is not None:
        rows = few_labels(frames, rows, classes, arm.labels_per_class, settings.training.seed)
    return Labelled(frames, split, rows)


def _validation_rows(
    labelled: Labelled, arm: ClassifierArm, classes: tuple[str, ...], settings: ClassifierTraining
) -> np.ndarray:
    if arm.labels_per_class is not None:
        return labelled.rows
    part = VALIDATION_PART[arm.labels_of[0]]
    return labelled_rows(labelled.frames, labelled.split, part, classes, settings.ignore_classes)


def _start(
    settings: ClassifierTraining, classes: tuple[str, ...], before: Checkpoint | None
) -> tuple[Classifier, dict[str, Any]]:
    """Makes the module with its first weights, and says where these come from."""
    from crossprobe.data.fingerprint import file_hash
    from crossprobe.models.checkpoint import load_weights
    from crossprobe.models.classifier import Classifier, load_backbone
    from crossprobe.training.seeding import seeded

    source = settings.model.weights
    with seeded(settings.training.seed):
        module = Classifier(settings.model.config(classes), fetch=source == "timm" and before is None)
    if before is not None:
        load_weights(module, before.weights)
        return module, {"from": "arm", "identity": before.provenance["identity"]}
    if source == "random":
        log.info("start: random weights")
        return module, {"from": "random"}
    if source == "timm":
        return module, {"from": "timm", "name": settings.model.backbone}
    report = load_backbone(module, source)
    log.info("start: %s: %s", source, report.summary())
    return module, {"from": "file", "sha256": file_hash(source), "coverage": report.coverage}


def _scaling(settings: ClassifierTraining, labelled: list[Labelled], before: Checkpoint | None) -> Any:
    """Mean and deviation over all labelled training images; those of the arm gone on from, if any."""
    from crossprobe.models.input_scaling import InputScaling

    if before is not None:
        return InputScaling.model_validate(before.config["scaling"])
    if not settings.standardise:
        return InputScaling()
    counts = np.array([len(part.rows) for part in labelled], float)
    means, deviations = np.array([part.frames.statistics(part.rows) for part in labelled]).T
    mean = float(np.average(means, weights=counts))
    spread = float(np.average(deviations**2 + means**2, weights=counts)) - mean**2
    return InputScaling(mean=mean, std=max(1e-3, spread**0.5))


def _identity_of_others(
    labelled: list[Labelled], unlabelled: tuple[FrameStore, dict] | None
) -> tuple[Any, ...]:
    others: tuple[Any, ...] = tuple((part.frames.fingerprint, part.rows) for part in labelled)
    if unlabelled is None:
        return others
    frames, split = unlabelled
    return (*others, frames.fingerprint, *(part_rows(frames, split, part) for part in ("train", "selection")))


def _task(
    module: Classifier, labelled: list[Labelled], validation: np.ndarray,
    unlabelled: tuple[FrameStore, dict] | None, settings: ClassifierTraining, classes: tuple[str, ...],
    scaling: Any, runtime: Any,
) -> tuple[Any, str]:  # fmt: skip
    """Makes the task, and says under which prefix of its weights the classifier lies."""
    from crossprobe.adaptation.dann import DomainAdversarialModel
    from crossprobe.tasks.adversarial import AdversarialTask
    from crossprobe.tasks.classification import ClassificationTask
    from crossprobe.training.class_source import LabelledImages
    from crossprobe.training.frame_source import FrameSource
    from crossprobe.training.seeding import seeded

    sources = [FrameSource(part.frames, part.rows, runtime.device, labels=False) for part in labelled]
    held_out = FrameSource(labelled[0].frames, validation, runtime.device, labels=False)
    task = ClassificationTask(
        module, LabelledImages(sources, classes), LabelledImages([held_out], classes), settings.training,
        settings.augment, settings.loss, scaling, runtime,
    )  # fmt: skip
    if unlabelled is None:
        return task, ""
    frames, split = unlabelled
    target, watched = (
        FrameSource(frames, part_rows(frames, split, part), runtime.device, labels=False)
        for part in ("train", "selection")
    )
    with seeded(settings.training.seed):
        adversarial = DomainAdversarialModel(module, settings.dann)
    total = settings.training.total_steps(len(task.training))
    return AdversarialTask(
        adversarial, task, target, watched, settings.dann, total, settings.training.seed
    ), "classifier."


def calibrate_classifier(
    checkpoint: Checkpoint,
    frames: FrameStore,
    split: dict[str, Any],
    stage: ClassifierTraining,
    arm: ClassifierArm,
    runtime: RuntimeSettings,
) -> dict[str, Any]:
    """Fits the arm's temperature on the validation images that also chose its weights."""
    from crossprobe.fusion.class_predictor import ClassifierPredictor
    from crossprobe.fusion.class_temperature import fit_class_temperature
    from crossprobe.training.class_source import class_numbers
    from crossprobe.training.runtime import resolve

    predictor = ClassifierPredictor.from_checkpoint(checkpoint, resolve(for_scoring(runtime)))
    rows = labelled_rows(
        frames, split, VALIDATION_PART[arm.labels_of[0]], predictor.classes, stage.ignore_classes
    )
    batches = np.array_split(rows, max(1, len(rows) // 32))
    logits = np.concatenate([predictor.logits(frames.images(batch)).cpu().numpy() for batch in batches])
    labels = class_numbers(frames.manifest.iloc[rows], predictor.classes)
    return dataclasses.asdict(fit_class_temperature(logits, labels))
