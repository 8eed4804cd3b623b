"""Turns runtime settings into a device, a precision and a memory layout."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import nn

from crossprobe.errors import CrossprobeError
from crossprobe.training.settings import RuntimeSettings


@dataclass(frozen=True)
class Runtime:
    """The machine as training and prediction see it."""

    device: torch.device
    bf16: bool
    channels_last: bool

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
        return f"{name}, {'bf16' if self.bf16 else 'fp32'}"


def resolve(settings: RuntimeSettings) -> Runtime:
    """Chooses the device and precision.

    Args:
        settings: What was asked for.

    Returns:
        What will be used.

    Raises:
        CrossprobeError: If `cuda` is asked for and torch sees no such device.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise CrossprobeError(
            "runtime.device is 'cuda', but torch sees no CUDA device; set it to 'auto' or 'cpu', "
            "or install a CUDA build of torch on a machine with a GPU"
        )
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and _has_fast_bf16(device))
    return Runtime(device, bf16, settings.channels_last)


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN also emulates bf16 on older chips, slower than fp32: ask for the instructions themselves.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
