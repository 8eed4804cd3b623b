"""A classifier that reads clips: class probabilities a frame, and whether a person should read it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from crossprobe.errors import PackageRefused
from crossprobe.prediction.package import Package
from crossprobe.prediction.stream import Rejected, prepared_batches
from crossprobe.training.runtime import Runtime


@dataclass(frozen=True)
class ClassAnswer:
    """What a classifier says of a frame, or of a clip.

    Attributes:
        probabilities: Calibrated, float64 [classes], adding to 1.
        classes: Names of the classes, in the same order.
        read: Why a person should read it; empty where there is no reason.
    """

    probabilities: np.ndarray
    classes: tuple[str, ...]
    read: str

    @property
    def name(self) -> str:
        """The likeliest class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability, in [0, 1]."""
        return float(self.probabilities.max())


@dataclass(frozen=True)
class ClassifiedFrame:
    """The answer for one frame.

    Attributes:
        frame: Number in the clip, from 0.
        shape: Height and width as recorded, px.
        answer: What the classifier says.
    """

    frame: int
    shape: tuple[int, int]
    answer: ClassAnswer


class ClassReader:
    """A loaded classifier that reads clips. The command line and the server both go through it.

    Args:
        package: The model; several branches answer by the mean of their calibrated probabilities.
        runtime: Device and precision.

    Raises:
        PackageRefused: The package holds no classifier, or branches of other classes than it says.
    """

    def __init__(self, package: Package, runtime: Runtime) -> None:
        # A server of a segmenter has no timm, which this needs.
        from crossprobe.fusion.class_predictor import ClassifierPredictor

        index = package.index
        if index.kind != "classifier":
            raise PackageRefused(f"{index.arm} is a {index.kind}; classes are asked for")
        self.package, self.classes = package, index.classes
        self.predictors = [
            ClassifierPredictor.from_checkpoint(checkpoint, runtime, branch.temperature)
            for checkpoint, branch in zip(package.checkpoints, index.branches, strict=True)
        ]
        for predictor, branch in zip(self.predictors, index.branches, strict=True):
            if predictor.classes != self.classes:
                raise PackageRefused(
                    f"{index.arm}: its branch {branch.name} answers {', '.join(predictor.classes)}, the "
                    f"package {', '.join(self.classes) or 'no class'}; register the model again"
                )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Classifies prepared images.

        Args:
            images: uint8 [B, S, S], S as in the frame store of the training data.

        Returns:
            Calibrated probabilities, float64 [B, classes], each row adding to 1.
        """
        answers = [predictor.probabilities(images).cpu().numpy() for predictor in self.predictors]
        mean = np.mean(np.asarray(answers, np.float64), axis=0)
        return np.asarray(mean / mean.sum(1, keepdims=True))

    def answer(self, probabilities: np.ndarray) -> ClassAnswer:
        """Judges probabilities.

        Args:
            probabilities: [classes], of a frame, or the mean over the frames of a clip.
        """
        rule = self.package.index.class_reading
        verdict = rule.verdict(float(probabilities.max())) if rule else ""
        return ClassAnswer(probabilities, self.classes, verdict)

    def read(
        self,
        frames: Iterable[np.ndarray] | Iterable[tuple[int, np.ndarray]],
        batch_size: int,
        rejected: Rejected | None = None,
    ) -> Iterator[ClassifiedFrame]:
        """Classifies the frames of one clip as they come.

        Args:
            frames: Grey uint8 [H, W], or pairs of number and frame.
            batch_size: Frames a forward pass.
            rejected: Told number and reason of every frame left out.

        Yields:
            One item a frame, in order.

        Raises:
            UnreadableMedia: The ultrasound area is too small.
        """
        size, settings = self.package.index.frames.size, self.package.stream(batch_size)
        with contextlib.closing(prepared_batches(frames, size, settings, rejected)) as batches:
            for view, batch in batches:
                found = self.probabilities(np.stack([frame.image for frame in batch]))
                for frame, probabilities in zip(batch, found, strict=True):
                    yield ClassifiedFrame(frame.number, view.shape, self.answer(probabilities))
