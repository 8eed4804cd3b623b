"""A training run with an identity: the same run resumes or is already done, a changed one starts afresh."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossprobe.data.fingerprint import code_hash, fingerprint
from crossprobe.data.frame_store import FrameStore
from crossprobe.training.loop import TrainingResult, train
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Task

log = logging.getLogger(__name__)

# What the weights depend on beside data and parameters; a change of any of these starts training afresh.
TRAINING_CODE = ("crossprobe.training", "crossprobe.models", "crossprobe.ssl", "crossprobe.tasks")


@dataclass(frozen=True)
class TrainingSession:
    """Everything that decides which weights come out of a run.

    Attributes:
        title: Stage and arm, such as `finetune.mim`.
        store: The frames.
        training_rows: Rows trained on.
        validation_rows: Rows validated on.
        settings: Budget and optimiser.
        runtime: Device and precision.
        parameters: All other settings, as anything `fingerprint` takes.
        folder: Root under which the run keeps its state.
    """

    title: str
    store: FrameStore
    training_rows: np.ndarray
    validation_rows: np.ndarray
    settings: TrainingSettings
    runtime: Runtime
    parameters: tuple[Any, ...]
    folder: Path

    def identity(self) -> str:
        """Hashes data, rows, parameters, precision and code."""
        return fingerprint(
            self.store.fingerprint,
            self.training_rows,
            self.validation_rows,
            self.settings,
            self.parameters,
            (self.runtime.device.type, self.runtime.bf16, self.runtime.channels_last),
            code_hash(*TRAINING_CODE),
        )

    def run(self, task: Task) -> TrainingResult:
        """Trains the task, resumes it, or returns at once what a finished run left.

        Args:
            task: What to train.

        Returns:
            The kept weights and the history.
        """
        identity = self.identity()
        folder = self.folder / f"{self.title}-{identity[:16]}"
        log.info(
            "%s: %d training and %d validation frames on %s",
            self.title, len(self.training_rows), len(self.validation_rows), self.runtime.describe(),
        )  # fmt: skip
        return train(task, self.settings, len(self.training_rows), folder, identity, self.title)

    def provenance(self, result: TrainingResult) -> dict[str, Any]:
        """Describes where weights came from, for the checkpoint.

        Args:
            result: What the run left.

        Returns:
            Plain data: title, hashes, counts, seed, steps and the figure the weights were chosen by.
        """
        return {
            "title": self.title,
            "identity": self.identity(),
            "frame_store": self.store.fingerprint,
            "training_frames": len(self.training_rows),
            "validation_frames": len(self.validation_rows),
            "seed": self.settings.seed,
            "steps": result.steps,
            "best_step": result.best_step,
            "best_validation": result.best_figure,
        }
