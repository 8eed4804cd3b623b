"""Writes several branches and their fusion as one ONNX graph."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.confidence import confidence_of
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.models.onnx_export import ScaledSegmenter, export_module


class FusedSegmenter(nn.Module):
    """One answer of an ensemble as a module, in single precision.

    Args:
        ensemble: Branches and answers.
        answer: Which of them.

    Raises:
        CrossprobeError: If the ensemble has no such answer.
    """

    def __init__(self, ensemble: Ensemble, answer: str):
        super().__init__()
        if answer not in ensemble.answers:
            raise CrossprobeError(f"no answer '{answer}': this ensemble has {', '.join(ensemble.answers)}")
        self.ensemble, self.how = ensemble, ensemble.answers[answer]
        branches = ensemble.predictor.branches
        self.parts = nn.ModuleList(
            ScaledSegmenter(branch.module, branch.scaling, branch.mirrored) for branch in branches
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps uint8 images [B, S, S] to probability and confidence, float32 [B, 1, S, S]."""
        mirrored = self._logits(images.flip(-1)).flip(-1) if self.how.flip_evidence else None
        probability = self.ensemble.fused(self.how, self._logits(images), mirrored).probability
        return probability, confidence_of(probability, self.how.confidence)

    def _logits(self, images: Tensor) -> Tensor:
        return torch.stack([part(images) for part in self.parts])


def export_ensemble(ensemble: Ensemble, answer: str, path: Path) -> Path:
    """Writes `images` uint8 [batch, S, S] to `probability` and `confidence`, float32 [batch, 1, S, S].

    Args:
        ensemble: Branches, temperatures and answers.
        answer: Which answer is written.
        path: The `.onnx` file; replaced if there is one.

    Returns:
        The file.

    Raises:
        CrossprobeError: If the ensemble has no such answer, or the packages of the extra `onnx` are missing.
    """
    module = FusedSegmenter(ensemble, answer)
    return export_module(module, ensemble.predictor.size, ["probability", "confidence"], path)
