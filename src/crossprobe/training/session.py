"""A training run with an identity: the same run resumes or is already done, a changed one starts afresh."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import CrossprobeError
from crossprobe.training.assignment import Assignment, class_path
from crossprobe.training.distributed import launch
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.identity import run_identity
from crossprobe.training.loop import TrainingResult, finished, train
from crossprobe.training.pieces import check_even
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Job, Task

log = logging.getLogger(__name__)


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
        folder: Root under which the run keeps its state.
        others: What a task built in this process was made of, as anything `fingerprint` takes; a job says so
            itself.
    """

    title: str
    store: FrameStore
    training_rows: np.ndarray
    validation_rows: np.ndarray
    settings: TrainingSettings
    runtime: Runtime
    folder: Path
    others: tuple[Any, ...] = ()

    def identity(self, work: Task | Job, start: Mapping[str, Tensor] | None = None) -> str:
        """Hashes what decides the weights, see `crossprobe.training.identity`.

        Args:
            work: As given to `run`.
            start: As given to `run`.

        Returns:
            64 hex digits.
        """
        return run_identity(
            self.store, self.training_rows, self.validation_rows, self.settings, self.runtime, work, start,
            self.others,
        )  # fmt: skip

    def build(self, job: Job, start: Mapping[str, Tensor] | None = None) -> Task:
        """Builds a task in this process.

        Args:
            job: Which.
            start: Initial weights, a whole state dict; those of the seed if not given.

        Returns:
            The task, on the session's device.
        """
        rows = (self.training_rows, self.validation_rows)
        training, validation = (
            FrameSource(self.store, part, self.runtime.device, job.labels) for part in rows
        )
        task = job.build(training, validation, self.settings, self.runtime)
        if start is not None:
            task.module.load_state_dict(start)
        return task

    def trained(self, job: Job, weights: Mapping[str, Tensor]) -> Task:
        """Builds a task that was trained, to look at; only the validation frames are opened.

        Args:
            job: Which.
            weights: What training kept.

        Returns:
            The task, on the session's device; its training frames are those of validation.
        """
        frames = FrameSource(self.store, self.validation_rows, self.runtime.device, job.labels)
        task = job.build(frames, frames, self.settings, self.runtime)
        task.module.load_state_dict(weights)
        return task

    def run(self, work: Task | Job, start: Mapping[str, Tensor] | None = None) -> TrainingResult:
        """Trains, resumes, or returns at once what a finished run left.

        Args:
            work: What to train: a job, which several processes can share, or a task built in this one.
            start: Initial weights of a job.

        Returns:
            The kept weights and the history.

        Raises:
            CrossprobeError: If a task already built is to be shared by several processes.
        """
        identity, samples = self.identity(work, start), len(self.training_rows)
        folder = self.folder / f"{self.title}-{identity[:16]}"
        done = self._done(folder, identity)
        if done is not None:
            return done
        log.info(
            "%s: %d training and %d validation frames on %s",
            self.title, samples, len(self.validation_rows), self.runtime.describe(),
        )  # fmt: skip
        if self.runtime.processes == 1:
            task = self.build(work, start) if isinstance(work, Job) else work
            return train(task, self.settings, samples, folder, identity, self.title, self.runtime)
        if not isinstance(work, Job):
            raise CrossprobeError(
                f"{self.title} runs in one process only: set runtime.distribution.nodes and "
                "processes_per_node to 1"
            )
        check_even(self.settings, self.runtime.processes, self.title)
        assignment = Assignment(
            title=self.title, identity=identity, store=self.store.path.resolve(), labels=self.store.labels,
            settings=self.settings, runtime=self.runtime.settings, job_class=class_path(work),
            job=work.model_dump(mode="json"),
        )  # fmt: skip
        assignment.save(folder, self.training_rows, self.validation_rows, start)
        launch(folder, self.title, self.runtime)
        result = finished(self.settings, samples, folder, identity)
        if result is None:
            raise CrossprobeError(
                f"{self.title}: the processes ended, but {folder} holds no finished run; several machines "
                "must share this folder"
            )
        return result

    def _done(self, folder: Path, identity: str) -> TrainingResult | None:
        """What this run left when it was finished, or another arm that trained the very same."""
        for place in (folder, *sorted(self.folder.glob(f"*-{identity[:16]}"))):
            done = finished(self.settings, len(self.training_rows), place, identity)
            if done is not None:
                log.info("%s: nothing changed since it was trained, taken from %s", self.title, place)
                return done
        return None

    def provenance(self, result: TrainingResult) -> dict[str, Any]:
        """Describes where weights came from, for the checkpoint.

        Args:
            result: What the run left.

        Returns:
            Plain data: title, hashes, counts, seed, steps and the figure the weights were chosen by.
        """
        return {
            "title": self.title,
            "identity": result.identity,
            "frame_store": self.store.fingerprint,
            "training_frames": len(self.training_rows),
            "validation_frames": len(self.validation_rows),
            "seed": self.settings.seed,
            "steps": result.steps,
            "best_step": result.best_step,
            "best_validation": result.best_figure,
        }
