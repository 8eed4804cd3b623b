"""One predicted frame as people get it: mask, confidence, area, and whether a person should read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from crossprobe.fusion.ensemble import Ensemble
from crossprobe.prediction.package import Package
from crossprobe.prediction.reading_rule import frame_confidence
from crossprobe.prediction.stream import FramePrediction, Rejected, predict_stream
from crossprobe.training.runtime import Runtime


@dataclass(frozen=True)
class Judged:
    """A prediction and its verdict.

    Attributes:
        prediction: Mask, probability and confidence, native size.
        confidence: Mean over the predicted area, in [0, 1]; None where nothing is found.
        read: Why a person should read the frame; empty where there is no reason.
    """

    prediction: FramePrediction
    confidence: float | None
    read: str

    def area_mm2(self, spacing_mm: float | None) -> float | None:
        """Area of the mask, mm²; None where the side of a pixel is not known.

        Args:
            spacing_mm: Side of a pixel, mm.
        """
        return None if spacing_mm is None else self.prediction.area_px * spacing_mm**2


class Reader:
    """A loaded model that reads clips. The command line and the server both go through it.

    Args:
        package: The model.
        runtime: Device and precision.
    """

    def __init__(self, package: Package, runtime: Runtime) -> None:
        self.package = package
        self.ensemble: Ensemble = package.ensemble(runtime)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts prepared images.

        Args:
            images: uint8 [B, S, S].

        Returns:
            Probability of foreground, float32 [B, S, S].
        """
        (fused,) = self.ensemble.predict(images).values()
        return fused.probability.squeeze(1).cpu().numpy()

    def read(
        self,
        frames: Iterable[np.ndarray] | Iterable[tuple[int, np.ndarray]],
        batch_size: int,
        rejected: Rejected | None = None,
    ) -> Iterator[Judged]:
        """Predicts the frames of one clip as they come.

        Args:
            frames: Grey uint8 [H, W], or pairs of number and frame.
            batch_size: Frames a forward pass.
            rejected: Told number and reason of every frame left out.

        Yields:
            One item a frame, in order.

        Raises:
            UnreadableMedia: The ultrasound area is too small.
        """
        index = self.package.index
        stream = predict_stream(self.ensemble, index.arm, frames, self.package.stream(batch_size), rejected)
        for prediction in stream:
            confidence = frame_confidence(prediction.probability, prediction.confidence, index.threshold)
            verdict = index.reading.verdict(confidence) if index.reading else ""
            yield Judged(prediction, confidence, verdict)
