"""A trained arm as evaluation, panels and prediction use it: frames in, probability maps out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.confidence import Fused, FusionMode, fuse
from crossprobe.fusion.evidence import FlipEvidenceSettings, flip_evidence
from crossprobe.fusion.predictor import Predictor


class FusedAnswer(BaseModel):
    """One way of making one answer out of several branches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: FusionMode = Field("average", description="What makes a branch count more in a pixel")
    calibrated: bool = Field(False, description="Divide logits by each branch's temperature first")
    flip_evidence: FlipEvidenceSettings | None = Field(
        None, description="Also trust a branch less where a mirrored image changes its mind"
    )


PLAIN = FusedAnswer()


@dataclass(frozen=True)
class Ensemble:
    """Branches, their temperatures and the answers wanted from them.

    Attributes:
        predictor: The branches.
        temperatures: One a branch, 1 where it was not calibrated.
        answers: Ways of fusing, by the name of the arm they stand for.
        branch_names: Names of the branches for people; may be left out.
        biases: One a branch, added to calibrated logits; none where no bias was fitted.
    """

    predictor: Predictor
    temperatures: Sequence[float]
    answers: Mapping[str, FusedAnswer]
    branch_names: Sequence[str] = ()
    biases: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Checks that every branch has its temperature.

        Raises:
            CrossprobeError: If the numbers differ.
        """
        if len(self.temperatures) != len(self.predictor.branches):
            raise CrossprobeError(
                f"{len(self.predictor.branches)} branches need as many temperatures, "
                f"got {len(self.temperatures)}"
            )

    def only(self, answer: str) -> Ensemble:
        """Gives the same branches with one of the answers; what others need is not computed.

        Args:
            answer: Its name.

        Returns:
            The ensemble.

        Raises:
            CrossprobeError: There is no such answer.
        """
        if answer not in self.answers:
            raise CrossprobeError(f"no answer '{answer}': this ensemble has {', '.join(self.answers)}")
        return dataclasses.replace(self, answers={answer: self.answers[answer]})

    @torch.inference_mode()
    def predict(self, images: np.ndarray | Tensor) -> dict[str, Fused]:
        """Answers for a batch of frames; what one frame gets does not depend on the others.

        Args:
            images: uint8 [B, S, S].

        Returns:
            Fused probability [B, 1, S, S] and weights by answer.
        """
        logits = self.predictor.logits(images)
        mirrored = None
        if any(answer.flip_evidence for answer in self.answers.values()):
            mirrored = self.predictor.logits(torch.as_tensor(images).flip(-1)).flip(-1)
        return {name: self.fused(answer, logits, mirrored) for name, answer in self.answers.items()}

    def fused(self, answer: FusedAnswer, logits: Tensor, mirrored: Tensor | None) -> Fused:
        """Makes one answer of what the branches say.

        Args:
            answer: How.
            logits: [branches, B, 1, S, S].
            mirrored: Those of mirrored images, mirrored back; needed for flip evidence only.

        Returns:
            Probability [B, 1, S, S] and weights.
        """
        probabilities = self._probabilities(logits, answer.calibrated)
        evidence = None
        if answer.flip_evidence is not None:
            assert mirrored is not None
            flipped_back = self._probabilities(mirrored, answer.calibrated)
            evidence = flip_evidence(probabilities, flipped_back, answer.flip_evidence)
        return fuse(probabilities, answer.confidence, evidence)

    def _probabilities(self, logits: Tensor, calibrated: bool) -> Tensor:
        if not calibrated:
            return torch.sigmoid(logits)
        temperatures = torch.tensor(self.temperatures, dtype=logits.dtype, device=logits.device)
        biases = torch.tensor(self.biases or [0.0] * len(self.temperatures)).to(logits)
        return torch.sigmoid(logits / temperatures.view(-1, 1, 1, 1, 1) + biases.view(-1, 1, 1, 1, 1))
