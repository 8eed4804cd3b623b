"""A training run as plain files, from which any process on any machine builds the same task.

Nothing is pickled: settings are JSON, rows and initial weights are safetensors, frames stay in their store.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import CrossprobeError
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import RuntimeSettings, TrainingSettings
from crossprobe.training.task import Job, Task

SETTINGS_NAME, TENSORS_NAME = "assignment.json", "assignment.safetensors"
_START = "start/"


class Assignment(BaseModel):
    """What a process of a shared run is told.

    Attributes:
        title: Of the run.
        identity: Its fingerprint.
        store: Folder of the frames, on a path that holds on every machine.
        labels: Whether masks may be read.
        settings: Budget and optimiser.
        runtime: The machine, as the parameters have it.
        job_class: Module and name of the job's class.
        job: Its fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    identity: str
    store: Path
    labels: bool
    settings: TrainingSettings
    runtime: RuntimeSettings
    job_class: str
    job: dict[str, Any]

    def save(
        self,
        folder: Path,
        training_rows: np.ndarray,
        validation_rows: np.ndarray,
        start: Mapping[str, Tensor] | None,
    ) -> None:
        """Writes the assignment into a run's folder.

        Args:
            folder: Made if missing.
            training_rows: int64, rows trained on.
            validation_rows: int64, rows validated on.
            start: Initial weights, or None.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"training_rows": training_rows, "validation_rows": validation_rows}
        flat = {name: torch.as_tensor(np.asarray(rows, np.int64)) for name, rows in tensors.items()}
        for name, value in (start or {}).items():
            flat[_START + name] = value.detach().cpu().clone().contiguous()
        save_file(flat, folder / TENSORS_NAME)
        (folder / SETTINGS_NAME).write_text(self.model_dump_json(indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Assignment:
        """Reads the settings of an assignment.

        Args:
            folder: As given to `save`.

        Returns:
            The assignment.

        Raises:
            CrossprobeError: The folder holds none, such as on a machine that does not share it.
        """
        file = folder / SETTINGS_NAME
        if not file.is_file():
            raise CrossprobeError(
                f"{file} cannot be seen from here: every machine must see the project's data folder under "
                "the same path"
            )
        return cls.model_validate_json(file.read_text(encoding="utf-8"))

    def build(self, folder: Path, runtime: Runtime) -> tuple[Task, int]:
        """Builds the task in this process.

        Args:
            folder: As given to `save`.
            runtime: This process's device and place.

        Returns:
            The task, and the number of training frames.
        """
        tensors = load_file(folder / TENSORS_NAME)
        store = FrameStore.open(self.store, labels=self.labels)
        job = _job_class(self.job_class).model_validate(self.job)
        training, validation = (
            FrameSource(store, tensors[name].numpy(), runtime.device, job.labels)
            for name in ("training_rows", "validation_rows")
        )
        task = job.build(training, validation, self.settings, runtime)
        start = {name[len(_START) :]: value for name, value in tensors.items() if name.startswith(_START)}
        if start:
            task.module.load_state_dict(start)
        return task, len(training)


def class_path(job: Job) -> str:
    """Names a job's class so that another process finds it.

    Args:
        job: Of a class at the top of an importable module.

    Returns:
        Such as `crossprobe.tasks.masked_image:MaskedImageJob`.
    """
    return f"{type(job).__module__}:{type(job).__qualname__}"


def _job_class(path: str) -> type[Job]:
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Job)):
        raise CrossprobeError(f"{path} is no class of jobs; expected module:Class of a crossprobe Job")
    return found
