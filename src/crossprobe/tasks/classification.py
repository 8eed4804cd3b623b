"""Classification with weighted cross-entropy (requirements S0-4, S1-2, S2-3)."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from crossprobe.models.classifier import Classifier
from crossprobe.models.input_scaling import InputScaling
from crossprobe.training.class_source import LabelledImages, class_weights
from crossprobe.training.classification_augment import (
    UNIFORMS_PER_IMAGE,
    ClassificationAugmentSettings,
    augment_images,
)
from crossprobe.training.counter_random import uniform
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.settings import TrainingSettings

_AUGMENT_STREAM = 401


class ClassLossSettings(BaseModel):
    """The loss on labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_weights: Literal["balanced", "none"] = Field(
        "balanced", description="`balanced`: a rare class counts as much as a common one"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each label given to all classes")


class ClassificationTask:
    """Trains a classifier on labelled images and validates on images of other patients.

    Args:
        module: What maps [B, 1, S, S] to logits [B, classes].
        training: Training images with their classes.
        validation: Images of other patients with theirs.
        settings: Budget; its batch size and seed shape the order of samples.
        augment: Augmentation.
        loss: Class weights and smoothing.
        scaling: How pixels become model input.
        runtime: Device and precision.
    """

    figure = "cross_entropy"

    def __init__(
        self,
        module: Classifier,
        training: LabelledImages,
        validation: LabelledImages,
        settings: TrainingSettings,
        augment: ClassificationAugmentSettings,
        loss: ClassLossSettings,
        scaling: InputScaling,
        runtime: Runtime,
    ) -> None:
        runtime.prepare(module)
        self.module = module
        self.sampler = ShuffledSampler(len(training), settings.batch_size, settings.seed)
        self.training, self.validation = training, validation
        self.scaling, self.runtime = scaling, runtime
        self._seed, self._augment = settings.seed, augment
        self._smoothing = loss.label_smoothing
        self.weights = np.ones(len(training.class_names), np.float32)
        if loss.class_weights == "balanced":
            self.weights = class_weights(training.counts())
        self._weights = torch.from_numpy(self.weights).to(runtime.device)
        self._clock: float | None = None

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Computes the weighted cross-entropy on an augmented micro-batch."""
        images, labels = self.augmented(batch), self.training.labels(batch.rows)
        with self.runtime.autocast():
            logits = self.module(images)
        right = (logits.argmax(1) == labels).float().mean()
        return self.label_loss(logits, labels), {"accuracy": float(right), **self.seconds(batch)}

    def names(self, rows: Tensor) -> list[str]:
        """Names training images by video and number."""
        return self.training.names(rows)

    def validate(self, size: int) -> dict[str, float]:
        """Computes loss and accuracies over the validation images."""
        return self.validate_with(self.module, size)

    def validate_with(self, module: torch.nn.Module, size: int) -> dict[str, float]:
        """Computes the validation figures of any module that gives logits, `size` images at once."""
        logits, labels = self.validation_logits(module, size)
        predicted = logits.argmax(1)
        recalls = [
            float((predicted[labels == number] == number).float().mean())
            for number in labels.unique().tolist()
        ]
        return {
            self.figure: float(F.cross_entropy(logits, labels, self._weights)),
            "accuracy": float((predicted == labels).float().mean()),
            "balanced_accuracy": float(np.mean(recalls)),
        }

    def augmented(self, batch: Batch) -> Tensor:
        """Gives a micro-batch of training images, augmented and standardised."""
        images = self.training.images(batch.rows)
        return self.augment(images, batch, _AUGMENT_STREAM)

    def augment(self, images: Tensor, batch: Batch, stream: int) -> Tensor:
        """Augments images [B, 1, S, S] by the counters of their batch, and standardises them."""
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        uniforms = uniform(UNIFORMS_PER_IMAGE, self._seed, epochs, rows, stream)
        return self.scaling.apply(augment_images(images, uniforms, self._augment))

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Computes the weighted cross-entropy of logits [B, classes] and labels [B]."""
        return F.cross_entropy(logits.float(), labels, self._weights, label_smoothing=self._smoothing)

    def validation_logits(self, module: torch.nn.Module, size: int) -> tuple[Tensor, Tensor]:
        """Runs a module over the validation images: float32 [N, classes] and labels [N]."""
        parts = []
        positions = torch.arange(len(self.validation))
        for some in positions.split(size):
            with self.runtime.autocast():
                parts.append(module(self.scaling.apply(self.validation.images(some))).float())
        return torch.cat(parts), self.validation.labels(positions)

    def seconds(self, batch: Batch) -> dict[str, float]:
        """Seconds since the step before began; validations are left out by taking medians of these."""
        if batch.piece:
            return {}
        before, self._clock = self._clock, time.perf_counter()
        return {} if before is None else {"step_seconds": self._clock - before}
