"""A trained classifier as it is used: the way from pixels to class probabilities, in four ways of answering.

Test-time augmentation averages over small known changes of the image; MC dropout (Gal and Ghahramani,
"Dropout as a Bayesian approximation", ICML 2016) over random subnetworks, whose disagreement says how unsure
the model is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.errors import CrossprobeError
from crossprobe.models.checkpoint import Checkpoint, rebuild
from crossprobe.models.classifier import Classifier
from crossprobe.models.classifier_config import ClassifierConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.training.runtime import Runtime

FORM = "classifier"
ZOOMS = (0.9, 1.0, 1.1)


@dataclass(frozen=True)
class ClassifierPredictor:
    """A classifier with the scaling of its input and its temperature.

    Attributes:
        module: The classifier, in evaluation mode.
        scaling: How pixels become its input.
        runtime: Device and precision.
        temperature: Divides logits before the softmax of `probabilities`.
    """

    module: Classifier
    scaling: InputScaling
    runtime: Runtime
    temperature: float = 1.0

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, runtime: Runtime, temperature: float = 1.0
    ) -> ClassifierPredictor:
        """Rebuilds a classifier from its checkpoint and from nothing else.

        Args:
            checkpoint: As training leaves it.
            runtime: Device and precision.
            temperature: From its calibration.

        Returns:
            The predictor.

        Raises:
            CrossprobeError: If the checkpoint holds something else than a classifier.
            CoverageError: If weights and configuration do not belong together.
        """
        if checkpoint.config.get("form") != FORM:
            raise CrossprobeError(
                f"a classifier's checkpoint is needed, this one is of form '{checkpoint.config.get('form')}'"
            )
        config = ClassifierConfig.model_validate(checkpoint.config["model"])
        module = rebuild(lambda: Classifier(config), checkpoint.weights)
        runtime.prepare(module).eval()
        scaling = InputScaling.model_validate(checkpoint.config["scaling"])
        return cls(module, scaling, runtime, temperature)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return self.module.config.classes

    def inputs(self, images: np.ndarray | Tensor) -> Tensor:
        """Turns uint8 frames [B, S, S] into standardised input [B, 1, S, S]."""
        batch = torch.as_tensor(images).to(self.runtime.device).unsqueeze(1).float().div_(255)
        return self.scaling.apply(batch)

    @torch.inference_mode()
    def logits(self, images: np.ndarray | Tensor) -> Tensor:
        """Classifies frames.

        Args:
            images: uint8 [B, S, S].

        Returns:
            float32 [B, classes], before temperature and softmax.
        """
        return self._logits(self.inputs(images))

    def probabilities(self, images: np.ndarray | Tensor) -> Tensor:
        """Calibrated probabilities float32 [B, classes] of uint8 frames [B, S, S]."""
        return (self.logits(images) / self.temperature).softmax(1)

    @torch.inference_mode()
    def augmented_probabilities(self, images: np.ndarray | Tensor) -> Tensor:
        """Averages calibrated probabilities over mirrored and zoomed copies.

        Args:
            images: uint8 [B, S, S].

        Returns:
            float32 [B, classes].
        """
        batch = self.inputs(images)
        copies = [_zoomed(side, zoom) for side in (batch, batch.flip(-1)) for zoom in ZOOMS]
        answers = [(self._logits(copy) / self.temperature).softmax(1) for copy in copies]
        return torch.stack(answers).mean(0)

    @torch.inference_mode()
    def dropout_probabilities(self, images: np.ndarray | Tensor, passes: int, seed: int = 0) -> Tensor:
        """Classifies with dropout switched on, several times.

        Args:
            images: uint8 [B, S, S].
            passes: How many random subnetworks.
            seed: Of the masks; features before the head's dropout are computed once where nothing else drops.

        Returns:
            float32 [passes, B, classes], calibrated.
        """
        batch = self.inputs(images)
        dropping = [part for part in self.module.modules() if isinstance(part, nn.Dropout) and part.p > 0]
        try:
            for part in dropping:
                part.train()
            with torch.random.fork_rng(devices=_devices(self.runtime)), self.runtime.autocast():
                torch.manual_seed(seed)
                if dropping == [self.module.dropout]:
                    features = self.module.features(batch)
                    answers = [self.module.classify(features) for _ in range(passes)]
                else:
                    answers = [self.module(batch) for _ in range(passes)]
        finally:
            self.module.eval()
        return (torch.stack(answers).float() / self.temperature).softmax(2)

    def _logits(self, batch: Tensor) -> Tensor:
        with self.runtime.autocast():
            return self.module(batch).float()


def average_and_vote(members: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Joins the answers of several classifiers in both usual ways.

    Args:
        members: Probabilities [N, classes] of each.

    Returns:
        Mean probabilities, and shares of votes, both [N, classes]. A tie of votes is broken by the mean: each
        share gives way to it by less than one vote weighs.
    """
    stacked = np.stack([np.asarray(member, np.float64) for member in members])
    mean = stacked.mean(0)
    votes = np.eye(stacked.shape[2])[stacked.argmax(2)].mean(0)
    tie_break = 0.01 / len(members)
    return mean, (1 - tie_break) * votes + tie_break * mean


def _zoomed(images: Tensor, zoom: float) -> Tensor:
    if zoom == 1:
        return images
    theta = torch.tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]], device=images.device).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _devices(runtime: Runtime) -> list[Any]:
    return [runtime.device] if runtime.device.type == "cuda" else []
