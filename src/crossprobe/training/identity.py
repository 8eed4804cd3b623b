"""What decides a result: the one place that says what a computation is known by, and what is left out of it.

A run is known by what is computed, not by how parameters spell it: frames and rows, the job or task as it
was built, the content of the weights it starts from, the arithmetic of the machine, and the versions of code
and libraries. Left out is what changes no result: how often progress is saved, names, paths, threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from crossprobe.data.fingerprint import code_hash, fingerprint, versions
from crossprobe.data.frame_store import FrameStore
from crossprobe.training.assignment import class_path
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Job, Task

# What weights depend on beside data and settings; a change of any of these starts training afresh.
TRAINING_CODE = (
    "crossprobe.training",
    "crossprobe.models",
    "crossprobe.ssl",
    "crossprobe.tasks",
    "crossprobe.adaptation",
)
LIBRARIES = ("torch",)
# Settings of a run that change no weight.
_IDLE = {"save_every"}


def run_identity(
    store: FrameStore,
    training_rows: np.ndarray,
    validation_rows: np.ndarray,
    settings: TrainingSettings,
    runtime: Runtime,
    work: Task | Job,
    start: Mapping[str, Tensor] | None = None,
    others: tuple[Any, ...] = (),
) -> str:
    """Hashes all that decides which weights come out of a training run.

    Args:
        store: The frames.
        training_rows: Rows trained on.
        validation_rows: Rows validated on.
        settings: Budget and optimiser.
        runtime: Device and precision.
        work: The job, or a task that was built from what `others` says.
        start: Initial weights of a job; those of the seed if not given.
        others: What else decides, as anything `fingerprint` takes; needed of a task alone.

    Returns:
        64 hex digits.
    """
    if isinstance(work, Job):
        built: tuple[Any, ...] = (class_path(work), work.model_dump(mode="python"))
    else:
        built, start = (type(work).__qualname__,), work.module.state_dict()
    return fingerprint(
        store.fingerprint,
        training_rows,
        validation_rows,
        settings.model_dump(exclude=_IDLE),
        built,
        None if start is None else weights_content(start),
        others,
        arithmetic(runtime),
        _division(runtime, _has_dropout((built, others))),
        code_hash(*TRAINING_CODE),
        versions(*LIBRARIES),
    )


def weights_content(weights: Mapping[str, Tensor]) -> str:
    """Hashes weights by name, type and content, wherever they lie.

    Args:
        weights: A state dict.

    Returns:
        64 hex digits.
    """
    return fingerprint({name: (str(tensor.dtype), _bytes_of(tensor)) for name, tensor in weights.items()})


def arithmetic(runtime: Runtime) -> tuple[str, bool, bool, bool]:
    """Says what of a machine changes numbers by more than the order of sums.

    Args:
        runtime: Device and precision.

    Returns:
        Kind of device, bf16, channels last, TF32.
    """
    on_gpu = runtime.device.type == "cuda"
    return runtime.device.type, runtime.bf16, runtime.channels_last, runtime.settings.tf32 and on_gpu


def _division(runtime: Runtime, dropout: bool) -> tuple[Any, ...]:
    """What of the division of a step's work changes weights by more than the order of sums.

    A micro-batch does: batch norm looks at its samples together. The number of processes does not, unless
    each norms its own samples or there is dropout, for which every process draws its own numbers. A compiler
    draws others as well; without dropout it only rounds otherwise, as a fused optimiser does.
    """
    settings = runtime.settings
    alike = settings.distribution.synchronise_norm and not dropout
    return settings.micro_batch, None if alike else runtime.processes, settings.compile if dropout else None


def _has_dropout(settings: Any) -> bool:
    """Whether plain settings have a dropout rate above 0, however deep."""
    if isinstance(settings, BaseModel):
        settings = settings.model_dump()
    if isinstance(settings, Mapping):
        return any(
            bool(value) if str(name).endswith("dropout") else _has_dropout(value)
            for name, value in settings.items()
        )
    return isinstance(settings, (list, tuple)) and any(map(_has_dropout, settings))


def _bytes_of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
