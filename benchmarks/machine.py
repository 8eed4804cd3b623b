"""What the machine is and what it can do: names, and peaks measured in the same run."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from crossprobe.evaluation.speed import device_name


@dataclass(frozen=True)
class Machine:
    """Where a run took place.

    Attributes:
        device: Name of the GPU, or of the processor and its threads.
        torch_version: Version of torch.
        python_version: Version of Python.
        bf16_tflops: Fastest bf16 matrix product seen, 10^12 floating point operations a second.
        fp32_tflops: The same in single precision, without TF32.
        copy_gb_per_second: Fastest copy seen, bytes read and bytes written.
    """

    device: str
    torch_version: str
    python_version: str
    bf16_tflops: float
    fp32_tflops: float
    copy_gb_per_second: float

    def as_dict(self) -> dict[str, object]:
        """Gives everything under its name."""
        return asdict(self)


def measure_machine(device: torch.device, quick: bool) -> Machine:
    """Names the machine and measures its peaks.

    Args:
        device: Where the benchmark runs.
        quick: Small products, for a test: too low a peak.

    Returns:
        The machine.
    """
    side = 256 if quick else (8192 if device.type == "cuda" else 2048)
    megabytes = 4 if quick else (2048 if device.type == "cuda" else 256)
    return Machine(
        device=device_name(device),
        torch_version=torch.__version__,
        python_version=platform.python_version(),
        bf16_tflops=_product_tflops(device, torch.bfloat16, side),
        fp32_tflops=_product_tflops(device, torch.float32, side),
        copy_gb_per_second=_copy_rate(device, megabytes),
    )


class Clock:
    """Reads two clocks: the one on the wall, and how long the device worked for this process.

    On a processor that second figure is the processor time of the process over its threads, so that what else
    the machine does counts for nothing. On a GPU both are the same.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        synchronise(device)
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Gives seconds since the clock was made, on the wall and at work."""
        synchronise(self._device)
        wall = time.perf_counter() - self._wall
        if self._device.type == "cuda":
            return wall, wall
        return wall, (time.process_time() - self._processor) / torch.get_num_threads()


def synchronise(device: torch.device) -> None:
    """Waits for the accelerator's queue to empty."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _product_tflops(device: torch.device, precision: torch.dtype, side: int) -> float:
    # Random numbers: products of zeros draw less power and run faster than any real ones.
    first, second = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
    return 2 * side**3 / _fastest(lambda: first @ second, device) / 1e12


def _copy_rate(device: torch.device, megabytes: int) -> float:
    source = torch.ones(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _fastest(lambda: target.copy_(source), device) / 1e9


def _fastest(call: Callable[[], object], device: torch.device, repeats: int = 8) -> float:
    """Seconds at work of the fastest call: a peak is what the machine can do undisturbed."""
    call()
    durations = []
    for _ in range(repeats):
        clock = Clock(device)
        call()
        durations.append(clock.read()[1])
    return min(durations)


class PeakMemory:
    """How much memory a piece of work takes beyond what was in use before it.

    On a GPU, of torch's allocator. On a processor, of the whole process, by the kernel's high-water mark,
    where it can be reset (Linux); elsewhere not a number.

    Args:
        device: Where the work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0.0

    def start(self) -> None:
        """Begins to watch."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = float(torch.cuda.memory_allocated(self.device))
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status_kilobytes("VmRSS") * 1024
        except (OSError, KeyError):
            self._before = float("nan")

    def stop_mb(self) -> float:
        """Gives the peak since `start` in 2^20 bytes."""
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self.device) - self._before) / 2**20
        try:
            return (_status_kilobytes("VmHWM") * 1024 - self._before) / 2**20
        except (OSError, KeyError):
            return float("nan")


def _status_kilobytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(dict(line.split(":", 1) for line in lines)[name].split()[0])
