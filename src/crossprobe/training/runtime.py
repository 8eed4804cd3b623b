"""Turns runtime settings into a device, a precision, a memory layout and a place among processes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import torch
from torch import nn

from crossprobe.errors import CrossprobeError
from crossprobe.training.ranks import Ranks
from crossprobe.training.settings import RuntimeSettings


@dataclass(frozen=True)
class Runtime:
    """The machine as training and prediction see it.

    Attributes:
        device: Where to compute.
        bf16: Whether forward passes run under bf16 autocast.
        channels_last: Memory layout of convolutions.
        settings: What was asked for.
        ranks: This process among those that train together.
    """

    device: torch.device
    bf16: bool
    channels_last: bool
    settings: RuntimeSettings = field(default_factory=RuntimeSettings)
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def fused_optimiser(self) -> bool:
        """Whether the update rule runs as one kernel; by default not on a CPU, where it rounds otherwise."""
        asked = self.settings.fused_optimiser
        return self.device.type == "cuda" if asked == "auto" else asked

    @property
    def processes_per_node(self) -> int:
        """How many processes train together on each machine."""
        asked = self.settings.distribution.processes_per_node
        if asked != "auto":
            return asked
        return torch.cuda.device_count() if self.device.type == "cuda" else 1

    @property
    def processes(self) -> int:
        """How many processes train together on all machines."""
        return self.processes_per_node * self.settings.distribution.nodes

    def prepare(self, module: nn.Module) -> nn.Module:
        """Moves a module to the device and into the memory layout; returns the same module."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        # torch accepts both at once, its type stubs do not.
        return module.to(device=self.device).to(memory_format=layout)  # type: ignore[call-overload]

    def autocast(self) -> contextlib.AbstractContextManager:
        """Gives the context in which forward passes run."""
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def describe(self) -> str:
        """Names the device and precision for logs and tables."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"CPU, {torch.get_num_threads()} threads"
        several = f"{self.processes} processes, each " if self.processes > 1 else ""
        return f"{several}{name}, {'bf16' if self.bf16 else 'fp32'}"


def resolve(settings: RuntimeSettings, ranks: Ranks | None = None) -> Runtime:
    """Chooses the device and precision.

    Args:
        settings: What was asked for.
        ranks: This process among those that train together; alone if not given.

    Returns:
        What will be used.

    Raises:
        CrossprobeError: If `cuda` is asked for and torch sees no such device, or fewer than there are
            processes on this machine.
    """
    ranks = ranks or Ranks()
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise CrossprobeError(
            "runtime.device is 'cuda', but torch sees no CUDA device; set it to 'auto' or 'cpu', "
            "or install a CUDA build of torch on a machine with a GPU"
        )
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and ranks.count > 1:
        device = _own_gpu(ranks)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if device.type == "cuda":
        _allow_tf32(settings.tf32)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and _has_fast_bf16(device))
    return Runtime(device, bf16, settings.channels_last, settings, ranks)


def _own_gpu(ranks: Ranks) -> torch.device:
    found = torch.cuda.device_count()
    if ranks.local_rank >= found:
        raise CrossprobeError(
            f"process {ranks.local_rank + 1} of this machine has no GPU of its own: torch sees {found}; "
            "lower runtime.distribution.processes_per_node, or set it to 'auto'"
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def _allow_tf32(allowed: bool) -> None:
    """Backend by backend: torch's older switches raise once anyone has used these newer ones."""
    precision = "tf32" if allowed else "ieee"
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN also emulates bf16 on older chips, slower than fp32: ask for the instructions themselves.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
