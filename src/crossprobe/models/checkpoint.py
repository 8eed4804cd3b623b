"""Checkpoints: weights, the settings that shaped them and where they came from; loading fails closed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.models.coverage import LoadReport, match_weights

__all__ = ["Checkpoint", "CoverageError", "LoadReport", "load_weights", "rebuild"]

Module = TypeVar("Module", bound=nn.Module)

FORMAT = "crossprobe checkpoint 1"
INDEX_NAME = "checkpoint.json"
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Checkpoint:
    """Weights with their settings and provenance, kept in a folder of two files.

    ``checkpoint.json`` names the weights file and its SHA-256 and is replaced last, in one step, so a reader
    sees the old checkpoint or the new one and never half of either. Nothing is ever pickled.

    Attributes:
        weights: State dict, tensors of any dtype on any device.
        config: Settings of the architecture, as plain JSON (``TransUNetConfig.model_dump(mode="json")``).
        provenance: What made it, as plain JSON: stage, data fingerprint, seed, step.
    """

    weights: Mapping[str, Tensor]
    config: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def without_weights(cls, reason: str) -> Checkpoint:
        """Stands where a model could not be trained, so that what comes after leaves it out too.

        Args:
            reason: Why.

        Returns:
            A checkpoint without weights; nothing that wants a model takes it.
        """
        return cls({}, {"form": LEFT_OUT, "reason": reason})

    @property
    def left_out(self) -> bool:
        """Whether there is no model here."""
        return self.config.get("form") == LEFT_OUT

    def save(self, folder: Path | str) -> Path:
        """Writes the checkpoint, replacing an older one in the same folder.

        Args:
            folder: Made if missing.

        Returns:
            The folder.

        Raises:
            CrossprobeError: There are no weights, one is NaN or infinite, or the config or provenance is not
                plain JSON.
        """
        folder = Path(folder)
        self._check()
        content = safetensors.torch.save({name: _owned(value) for name, value in self.weights.items()})
        digest = hashlib.sha256(content).hexdigest()
        weights_name = f"weights-{digest[:16]}.safetensors"
        index = {
            "format": FORMAT,
            "weights": weights_name,
            "sha256": digest,
            "config": dict(self.config),
            "provenance": dict(self.provenance),
        }
        try:
            text = json.dumps(index, indent=2, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise CrossprobeError(f"config and provenance of {folder} must be plain JSON: {error}") from error
        folder.mkdir(parents=True, exist_ok=True)
        _write_durably(folder / weights_name, content)
        _write_durably(folder / INDEX_NAME, text.encode())
        for stale in folder.glob("weights-*.safetensors"):
            if stale.name != weights_name:
                stale.unlink(missing_ok=True)
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> Checkpoint:
        """Reads a checkpoint and verifies its digest.

        Args:
            folder: As given to :meth:`save`.

        Returns:
            The checkpoint, its tensors on the CPU.

        Raises:
            CrossprobeError: The folder holds no checkpoint, one of another format, or a damaged one.
        """
        folder = Path(folder)
        path = folder / INDEX_NAME
        if not path.is_file():
            raise CrossprobeError(
                f"{folder} holds no {INDEX_NAME}: run the stage that makes this checkpoint first"
            )
        try:
            index = json.loads(path.read_text())
            if index["format"] != FORMAT:
                raise CrossprobeError(
                    f"{path} is of format {index['format']!r}, this version reads {FORMAT!r}"
                )
            content = (folder / index["weights"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != index["sha256"]:
                raise CrossprobeError(
                    f"{folder / index['weights']} is damaged: its SHA-256 differs from {path.name}"
                )
            weights = safetensors.torch.load(content)
            return cls(weights, index["config"], index["provenance"])
        except (KeyError, TypeError, json.JSONDecodeError, OSError, SafetensorError) as error:
            raise CrossprobeError(f"{folder} is not a whole checkpoint ({error!r}): make it again") from error

    def _check(self) -> None:
        if not self.weights and not self.left_out:
            raise CrossprobeError("a checkpoint without weights was asked for: give a module's state_dict()")
        for name, value in self.weights.items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CrossprobeError(f"weight {name} holds NaN or infinity; the checkpoint was not written")


def load_weights(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    minimum_coverage: float = 1.0,
    prefix: str = "",
    *,
    allow_unexpected: bool = False,
) -> LoadReport:
    """Fills a module from a state dict, or leaves it untouched and says why.

    Position embeddings of another image size are interpolated; every other difference of shape is a mismatch.

    Args:
        module: Filled in place.
        weights: State dict of this module, or of one that holds it under ``prefix``.
        minimum_coverage: Least share of the module's keys, in (0, 1], that must be filled.
        prefix: Only keys that begin with it are used, without it: ``"encoder."`` takes the encoder out of any
            checkpoint of ours.
        allow_unexpected: Accept weights (under the prefix) that the module has no place for.

    Returns:
        What matched, was interpolated, missed, mismatched and was left over.

    Raises:
        CoverageError: Too little matched, or weights were left over; the message names the first few keys.
    """
    if not 0 < minimum_coverage <= 1:
        raise CrossprobeError(f"minimum_coverage {minimum_coverage} must lie in (0, 1]")
    chosen = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
    if prefix and not chosen:
        first = ", ".join(list(weights)[:3])
        raise CoverageError(f"none of the {len(weights)} weights begins with {prefix!r}; the first: {first}")
    ready, report = match_weights(module.state_dict(), chosen)
    if report.coverage < minimum_coverage or (report.unexpected and not allow_unexpected):
        raise CoverageError(f"{type(module).__name__}: {report.summary()} (needed: {minimum_coverage:.1%})")
    module.load_state_dict(ready, strict=False)
    return report


def rebuild(make: Callable[[], Module], weights: Mapping[str, Tensor]) -> Module:
    """Builds a module that exists in its weights already, without drawing initial ones first.

    Args:
        make: Builds the module.
        weights: All of its state dict.

    Returns:
        The module on the CPU, filled.

    Raises:
        CoverageError: If weights and module do not belong together.
    """
    with torch.device("meta"):
        module = make()
    if {name for name, _ in module.named_buffers()} <= set(module.state_dict()):
        module = module.to_empty(device="cpu")
    else:  # a buffer that no state dict holds must be computed
        module = make()
    load_weights(module, weights)
    return module


def _owned(value: Tensor) -> Tensor:
    # safetensors refuses views and shared storage: give every tensor its own, in plain row-major order.
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous()


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
