"""A training run on disk: everything needed to go on after a kill, in one safetensors file.

Written to a temporary name, flushed and renamed, so that a reader finds the last good state or the one
before it, never half of one. Nothing is pickled: tensors lie flat, the rest is JSON in the header. A finished
run keeps its best weights and history only; what going on takes (optimiser, averages) is several times that.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from crossprobe.errors import CrossprobeError


@dataclass
class Progress:
    """Where a run stands, beside its weights.

    Attributes:
        step: Optimiser steps done.
        best_step: Step of the best validation figure so far, -1 before the first.
        best_figure: That figure.
        history: Rows of step, part, metric and value.
        finished: Nothing is left to do, and only the best weights are kept.
        micro_batch: Most samples a process can compute at once, where memory has shown it; else 0.
        stopped_early: The validation figure stagnated before the budget was used up.
    """

    step: int = 0
    best_step: int = -1
    best_figure: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    micro_batch: int = 0
    stopped_early: bool = False


def save_progress(
    path: Path,
    identity: str,
    progress: Progress,
    weights: dict[str, dict[str, Tensor]],
    optimiser: torch.optim.Optimizer | None,
) -> None:
    """Writes a run's state.

    Args:
        path: File to replace.
        identity: Fingerprint of the run; only the same run may resume from it.
        progress: Step, best figure and history.
        weights: State dicts by role (`module`, `best`, `average`); of a finished run `best` only.
        optimiser: Its state is stored tensor by tensor, and torch's random state with it; None of a finished
            run.

    Raises:
        OSError: If the disk is full; the file that was there before stays as it was.
    """
    tensors = {f"{role}/{name}": value for role, state in weights.items() for name, value in state.items()}
    scalars: dict[str, Any] = {}
    if optimiser is not None:
        for index, state in optimiser.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{index}/{name}"] = value
                else:
                    scalars[f"{index}/{name}"] = value
        tensors["random/cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
    header = {"identity": identity, "progress": json.dumps(vars(progress)), "scalars": json.dumps(scalars)}
    # safetensors refuses tensors that share memory, which tied or aliased state dicts may.
    flat = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    _replace(path, flat, header)


def _replace(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes on the same run must not write into one file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=header)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    """Deletes what processes killed while they wrote left behind; the name holds the process's id."""
    for file in path.parent.glob(f".{path.name}.*.tmp"):
        process = file.name.split(".")[-2]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (ValueError, OSError):
            continue


def load_finished(path: Path, identity: str, total: int) -> tuple[Progress, dict[str, Tensor]] | None:
    """Reads what a finished run left, without the module it trained.

    Args:
        path: File written by `save_progress`.
        identity: Fingerprint of the run.
        total: Steps of the whole run.

    Returns:
        The progress and the best weights; None if there is no such file, or the run is not finished.

    Raises:
        CrossprobeError: As `load_progress`, or if it holds no weights.
    """
    if not path.exists():
        return None
    _, progress = _header(path, identity, total)
    if not progress.finished:
        return None
    weights = {name.removeprefix("best/"): value for name, value in _tensors(path).items()}
    if not weights:
        raise CrossprobeError(f"{path} holds a finished run without weights: remove it to start afresh")
    return progress, weights


def _header(path: Path, identity: str, total: int) -> tuple[dict[str, str], Progress]:
    """What stands in a file before its tensors, if it belongs to this very run."""
    try:
        with safe_open(path, framework="pt") as handle:
            header = handle.metadata()
        progress, owner = Progress(**json.loads(header["progress"])), header["identity"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CrossprobeError(
            f"{path} is no whole progress file ({error}): remove it to start afresh"
        ) from error
    if owner != identity:
        raise CrossprobeError(
            f"{path} belongs to another run (fingerprint {owner[:12]}, this run is {identity[:12]}): data, "
            "parameters or code differ; remove the file to start afresh"
        )
    if progress.finished and progress.step != total and not progress.stopped_early:
        raise CrossprobeError(
            f"{path} holds a run finished after {progress.step} steps, which cannot go on to {total}; "
            "remove the file to start afresh"
        )
    return header, progress


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping


def load_progress(
    path: Path, identity: str, total: int, module: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[Progress, dict[str, dict[str, Tensor]]]:
    """Restores a run's state into a module, its optimiser and torch's random state.

    A finished run has nothing to go on from: module, optimiser and random state stay as they are.

    Args:
        path: File written by `save_progress`.
        identity: Fingerprint of the run that wants to go on.
        total: Steps of the whole run.
        module: Receives the current weights.
        optimiser: Receives its state.

    Returns:
        The progress, and the state dicts of the other roles (`best`, `average`).

    Raises:
        CrossprobeError: If the file belongs to a run with other data, parameters or code, or to one that was
            finished after another number of steps.
    """
    header, progress = _header(path, identity, total)
    tensors = _tensors(path)
    roles: dict[str, dict[str, Tensor]] = {}
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        role, key = name.split("/", 1)
        if role == "optimiser":
            index, entry = key.split("/", 1)
            state.setdefault(int(index), {})[entry] = value
        else:
            roles.setdefault(role, {})[key] = value
    for name, scalar in json.loads(header["scalars"]).items():
        index, entry = name.split("/", 1)
        state.setdefault(int(index), {})[entry] = scalar
    if progress.finished:
        return progress, roles
    module.load_state_dict(roles.pop("module"))
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    random_state = roles.pop("random")
    torch.set_rng_state(random_state["cpu"])
    if "cuda" in random_state and torch.cuda.is_available():
        torch.cuda.set_rng_state(random_state["cuda"])
    return progress, roles
