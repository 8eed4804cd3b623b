"""Segmentation with DiceBCE (requirement S3-9)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.counter_random import permutation, uniform
from crossprobe.training.dice_bce import DiceBceSettings, dice_bce
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.ranks import Ranks
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.seeding import seeded
from crossprobe.training.segmentation_augment import (
    UNIFORMS_PER_PAIR,
    SegmentationAugmentSettings,
    augment_pair,
)
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Job

_AUGMENT_STREAM, _SHUFFLE_STREAM = 221, 301


class SegmentationJob(Job):
    """A `SegmentationTask` as plain settings."""

    labels: ClassVar[bool] = True

    model: TransUNetConfig
    augment: SegmentationAugmentSettings
    loss: DiceBceSettings
    scaling: InputScaling
    shuffled_labels: bool = False

    def build(
        self, training: FrameSource, validation: FrameSource, settings: TrainingSettings, runtime: Runtime
    ) -> SegmentationTask:
        """Builds the task with weights drawn from the seed."""
        with seeded(settings.seed):
            module = TransUNet(self.model)
        return SegmentationTask(
            module, training, validation, settings, self.augment, self.loss, self.scaling, runtime,
            self.shuffled_labels,
        )  # fmt: skip


class SegmentationTask:
    """Trains a segmenter on labelled frames of one site and validates on its held-out patients.

    Args:
        module: Model that maps [B, C, S, S] to logits [B, 1, S, S].
        training: Labelled training frames.
        validation: Labelled frames of other patients of the same site.
        settings: Budget; its batch size and seed shape the order of samples.
        augment: Augmentation, geometric and of intensity.
        loss: Variant of the loss.
        scaling: How pixels become model input.
        runtime: Device and precision.
        shuffled_labels: Control experiment: every frame gets another frame's mask, always the same one.
    """

    figure = "dice_bce"

    def __init__(
        self,
        module: nn.Module,
        training: FrameSource,
        validation: FrameSource,
        settings: TrainingSettings,
        augment: SegmentationAugmentSettings,
        loss: DiceBceSettings,
        scaling: InputScaling,
        runtime: Runtime,
        shuffled_labels: bool = False,
    ) -> None:
        self.module = runtime.prepare(module)
        self.sampler = ShuffledSampler(len(training), settings.batch_size, settings.seed)
        self._training, self._validation = training, validation
        self._seed, self._batch_size = settings.seed, settings.batch_size
        self._augment, self._loss, self._scaling, self._runtime = augment, loss, scaling, runtime
        self._mask_of = (
            permutation(len(training), settings.seed, 0, _SHUFFLE_STREAM) if shuffled_labels else None
        )

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Computes DiceBCE on an augmented micro-batch."""
        images = self._training.images(batch.rows)
        masks = self._training.masks(self._mask_rows(batch))
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        uniforms = uniform(UNIFORMS_PER_PAIR, self._seed, epochs, rows, _AUGMENT_STREAM)
        images, masks = augment_pair(images, masks, uniforms, self._augment)
        with self._runtime.autocast():
            logits = self.module(self._scaling.apply(images))
        return self._dice_bce(logits, masks, self._runtime.ranks), {}

    def prefetch(self, batch: Batch) -> None:
        """Begins to fetch the frames and masks of the next micro-batch."""
        self._training.prefetch(batch.rows, self._mask_rows(batch))

    def names(self, rows: Tensor) -> list[str]:
        """Names training frames by video and number."""
        return self._training.names(rows)

    def validate(self, size: int) -> dict[str, float]:
        """Computes the mean loss and Dice over the validation frames, the loss in batches of `batch_size`."""
        losses, dices = [], []
        ranks, device = self._runtime.ranks, self._runtime.device
        for positions in ranks.share(torch.arange(len(self._validation)).split(self._batch_size)):
            images, masks = self._validation.images(positions), self._validation.masks(positions)
            with self._runtime.autocast():
                parts = [self.module(self._scaling.apply(part)).float() for part in images.split(size)]
            logits = torch.cat(parts)
            losses.append(self._dice_bce(logits, masks, Ranks()) * len(positions))
            dices.append(_dice_per_frame(logits > 0, masks > 0))
        count = sum(len(part) for part in dices)
        loss, dsc = (float(sum(losses)) / count, float(torch.cat(dices).mean())) if count else (0.0, 0.0)
        return {self.figure: ranks.mean(loss, count, device), "dsc": ranks.mean(dsc, count, device)}

    def _mask_rows(self, batch: Batch) -> Tensor:
        return batch.rows if self._mask_of is None else self._mask_of[batch.rows]

    def _dice_bce(self, logits: Tensor, masks: Tensor, ranks: Ranks) -> Tensor:
        return dice_bce(logits.float(), masks, self._loss.smooth, self._loss.per_sample, ranks)


def _dice_per_frame(predicted: Tensor, reference: Tensor) -> Tensor:
    """Dice of each frame [B]; two empty masks agree."""
    both = (predicted & reference).flatten(1).sum(1)
    either = predicted.flatten(1).sum(1) + reference.flatten(1).sum(1)
    return torch.where(either > 0, 2 * both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float))
