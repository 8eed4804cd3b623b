"""Nodes of the fine-tuning pipeline: unpack, call the library, return."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import InvalidMetadata
from crossprobe.fusion.temperature import TemperatureSettings
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.arms import FinetuningArm, reseeded
from crossprobe.pipelines.finetuning.settings import FinetuningSettings
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import ModelSettings, for_scoring
from crossprobe.training.settings import RuntimeSettings, TrainingSettings

if TYPE_CHECKING:
    from crossprobe.models.transunet import TransUNet


log = logging.getLogger(__name__)

# The part of a split that chooses weights: the source validates on labels of its own; the target-supervised
# reference uses the labels of the patients that label-free choice uses without.
VALIDATION_PART = {"source": "val", "target": "selection"}
CALIBRATION_BATCH = 32


def finetune_from_encoder(
    frames: FrameStore,
    split: dict,
    encoder: Checkpoint,
    arm: FinetuningArm,
    stage: FinetuningSettings,
    model: ModelSettings,
    folders: Folders,
    runtime: RuntimeSettings,
    arm_name: str,
    repeat: int = 0,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Fine-tunes a segmenter whose encoder was pretrained on the target."""
    from crossprobe.models.checkpoint import load_weights

    module = _new_segmenter(model, training_settings(stage, arm, repeat).seed)
    report = load_weights(module.encoder, encoder.weights, stage.minimum_coverage, prefix="encoder.")
    log.info("encoder from %s: %s", arm.start, report.summary())
    start: dict[str, object] = {
        "pretrained": encoder.provenance.get("identity"), "coverage": report.coverage
    }  # fmt: skip
    return _finetune(module, start, frames, split, arm, stage, model, folders, runtime, arm_name, repeat)


def finetune_from_start(
    frames: FrameStore,
    split: dict,
    arm: FinetuningArm,
    stage: FinetuningSettings,
    model: ModelSettings,
    folders: Folders,
    runtime: RuntimeSettings,
    arm_name: str,
    repeat: int = 0,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Fine-tunes a segmenter that starts at random, or from ImageNet weights where the arm says so."""
    module = _new_segmenter(model, training_settings(stage, arm, repeat).seed)
    start: dict[str, object] = {"pretrained": arm.start, "coverage": 0.0}
    if arm.start == "imagenet":
        from crossprobe.models.pretrained import load_imagenet
        from crossprobe.training.identity import weights_content

        report = load_imagenet(module.encoder, model.imagenet_weights or "timm")
        # The content, not the name: a file of the same name may hold other weights tomorrow.
        start |= {"coverage": report.coverage, "weights": weights_content(module.encoder.state_dict())}
        log.info("encoder from ImageNet: %s", report.summary())
    return _finetune(module, start, frames, split, arm, stage, model, folders, runtime, arm_name, repeat)


def _new_segmenter(model: ModelSettings, seed: int) -> TransUNet:
    from crossprobe.models.transunet import TransUNet
    from crossprobe.training.seeding import seeded

    with seeded(seed):
        return TransUNet(model.config())


def training_settings(stage: FinetuningSettings, arm: FinetuningArm, repeat: int = 0) -> TrainingSettings:
    """Gives the stage's budget and optimiser with what the arm overrides.

    Args:
        stage: The same for every arm.
        arm: Its seed and weight decay, where it has its own.
        repeat: How many seeds after that.

    Returns:
        What the arm is trained by.
    """
    training = reseeded(stage.training, arm, repeat)
    if arm.weight_decay is None:
        return training
    optimiser = training.optimiser.model_copy(update={"weight_decay": arm.weight_decay})
    return training.model_copy(update={"optimiser": optimiser})


def _finetune(
    module: TransUNet,
    start: dict[str, object],
    frames: FrameStore,
    split: dict,
    arm: FinetuningArm,
    stage: FinetuningSettings,
    model: ModelSettings,
    folders: Folders,
    runtime: RuntimeSettings,
    arm_name: str,
    repeat: int = 0,
) -> tuple[Checkpoint, pd.DataFrame]:
    from crossprobe.models.checkpoint import Checkpoint
    from crossprobe.models.input_scaling import InputScaling
    from crossprobe.tasks.segmentation import SegmentationJob
    from crossprobe.training.loop import HISTORY_COLUMNS
    from crossprobe.training.runtime import resolve
    from crossprobe.training.session import TrainingSession

    rows = frames.rows(split["parts"]["train"], labelled=True)
    validation = frames.rows(split["parts"][VALIDATION_PART[arm.site]], labelled=True)
    lacking = [
        part for part, found in (("train", rows), (VALIDATION_PART[arm.site], validation)) if not len(found)
    ]
    if lacking:
        reason = f"no labelled frame of site '{arm.site}' in {' and '.join(lacking)}"
        if arm.site == "source":
            raise InvalidMetadata(f"finetune.{arm_name}: {reason}; label some")
        # The target may have no label: then there is no reference, and all else goes on.
        log.warning("finetune.%s is left out: %s", arm_name, reason)
        return Checkpoint.without_weights(reason), pd.DataFrame(columns=HISTORY_COLUMNS)
    training = training_settings(stage, arm, repeat)
    session = TrainingSession(
        f"finetune.{arm_name}", frames, rows, validation, training, resolve(runtime), folders.progress
    )
    mean, std = frames.statistics(rows) if stage.standardise else (0.0, 1.0)
    scaling = InputScaling(mean=mean, std=std)
    job = SegmentationJob(
        model=model.config(),
        augment=stage.augment,
        loss=stage.loss,
        scaling=scaling,
        shuffled_labels=arm.shuffled_labels,
    )
    result = session.run(job, module.state_dict())
    config = {
        "form": "segmenter",
        "model": model.config().model_dump(mode="json"),
        "scaling": scaling.model_dump(mode="json"),
        "mirrored": stage.mirrored,
    }
    return Checkpoint(result.weights, config, session.provenance(result) | {"start": start}), result.history


def calibrate(
    checkpoint: Checkpoint,
    frames: FrameStore,
    split: dict,
    arm: FinetuningArm,
    settings: TemperatureSettings,
    runtime: RuntimeSettings,
) -> dict[str, Any]:
    """Fits the arm's temperature on the validation labels of the site it learned from; {} if left out."""
    if checkpoint.left_out:
        return {}
    import dataclasses

    from crossprobe.fusion.predictor import Predictor
    from crossprobe.fusion.temperature import fit_temperature, sample_pixels
    from crossprobe.training.runtime import resolve

    rows = frames.rows(split["parts"][VALIDATION_PART[arm.site]], labelled=True)
    predictor = Predictor.from_checkpoints([checkpoint], resolve(for_scoring(runtime)))

    def labelled() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in np.array_split(rows, max(1, len(rows) // CALIBRATION_BATCH)):
            logits = predictor.logits(frames.images(batch))[0, :, 0].cpu().numpy()
            yield from zip(logits, frames.masks(batch), strict=True)

    pixels = sample_pixels(labelled(), len(rows), settings.maximum_pixels)
    return dataclasses.asdict(fit_temperature(*pixels, settings))
