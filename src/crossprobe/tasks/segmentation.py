"""Segmentation with DiceBCE (requirement S3-9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossprobe.models.input_scaling import InputScaling
from crossprobe.training.counter_random import permutation, uniform
from crossprobe.training.dice_bce import DiceBceSettings, dice_bce
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.segmentation_augment import (
    UNIFORMS_PER_PAIR,
    SegmentationAugmentSettings,
    augment_pair,
)
from crossprobe.training.settings import TrainingSettings

_AUGMENT_STREAM, _SHUFFLE_STREAM = 221, 301


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
        masks = self._training.masks(batch.rows if self._mask_of is None else self._mask_of[batch.rows])
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        uniforms = uniform(UNIFORMS_PER_PAIR, self._seed, epochs, rows, _AUGMENT_STREAM)
        images, masks = augment_pair(images, masks, uniforms, self._augment)
        with self._runtime.autocast():
            logits = self.module(self._scaling.apply(images))
        return self._dice_bce(logits, masks), {}

    def validate(self) -> dict[str, float]:
        """Computes the mean loss and Dice over the validation frames."""
        losses, dices = [], []
        for positions in torch.arange(len(self._validation)).split(self._batch_size):
            images, masks = self._validation.images(positions), self._validation.masks(positions)
            with self._runtime.autocast():
                logits = self.module(self._scaling.apply(images)).float()
            losses.append(self._dice_bce(logits, masks) * len(positions))
            dices.append(_dice_per_frame(logits > 0, masks > 0))
        count = len(self._validation)
        return {self.figure: float(sum(losses)) / count, "dsc": float(torch.cat(dices).mean())}

    def _dice_bce(self, logits: Tensor, masks: Tensor) -> Tensor:
        return dice_bce(logits.float(), masks, self._loss.smooth, self._loss.per_sample)


def _dice_per_frame(predicted: Tensor, reference: Tensor) -> Tensor:
    """Dice of each frame [B]; two empty masks agree."""
    both = (predicted & reference).flatten(1).sum(1)
    either = predicted.flatten(1).sum(1) + reference.flatten(1).sum(1)
    return torch.where(either > 0, 2 * both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float))
