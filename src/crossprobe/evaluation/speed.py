"""Speed beside accuracy: parameters, operations, latency, frames a second, memory."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Predictor = Callable[[torch.Tensor], object]


def parameter_count(*modules: nn.Module) -> int:
    """Counts parameters, those shared between modules once."""
    parameters = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(parameters.values())


def gigaflops(predict: Predictor, images: torch.Tensor) -> float:
    """Counts the floating point operations of one frame, in 10^9; a multiply-add is two.

    Args:
        predict: Takes images and gives anything; calls modules, since nothing is counted of a recorded graph.
        images: At least one image [B, C, H, W].

    Returns:
        GFLOP a frame.
    """
    # What a first call does besides, such as to record or to choose kernels, is no part of a frame; and the
    # counter knows matrix products, but not every kernel that fuses attention.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        predict(images[:1])
        with FlopCounterMode(display=False) as counter:
            predict(images[:1])
    return counter.get_total_flops() / 1e9


def device_name(device: torch.device) -> str:
    """Names the accelerator or processor, so that a latency means something."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = ""
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = (line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        model = next((value.strip() for key, value in lines if key.strip() == "model name"), "")
    return f"{model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _peak_memory_mb(device: torch.device) -> float:
    """Peak of the accelerator since its counter was reset, or of the whole process on a processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_speed(
    arm: str,
    predict: Predictor,
    images: torch.Tensor,
    modules: tuple[nn.Module, ...] = (),
    repeats: int = 20,
    warm_up: int = 3,
    counted: Predictor | None = None,
) -> dict[str, object]:
    """Times a predictor on one frame at a time, as a bedside uses it, and on the batch given.

    Args:
        arm: Name of the arm.
        predict: Takes images [B, C, H, W] and gives anything.
        images: A batch on the device to be timed.
        modules: Modules whose parameters count.
        repeats: Timed calls.
        warm_up: Calls before the clock starts.
        counted: The same work by plain modules, to count its operations where `predict` takes short cuts.

    Returns:
        `arm, device, parameters, gflop, latency_ms_p50, latency_ms_p95, frames_per_second, peak_memory_mb,
        memory_of` (`accelerator`, or `process`: the peak of the whole process, other work included).
    """
    device = images.device
    operations = gigaflops(counted or predict, images)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    single = _durations(predict, images[:1], repeats, warm_up)
    batch = _durations(predict, images, max(1, repeats // 4), 1)
    return {
        "arm": arm,
        "device": device_name(device),
        "parameters": parameter_count(*modules),
        "gflop": operations,
        "latency_ms_p50": 1000 * float(np.percentile(single, 50)),
        "latency_ms_p95": 1000 * float(np.percentile(single, 95)),
        "frames_per_second": len(images) / float(np.median(batch)),
        "peak_memory_mb": _peak_memory_mb(device),
        "memory_of": "accelerator" if device.type == "cuda" else "process",
    }


def _durations(predict: Predictor, images: torch.Tensor, repeats: int, warm_up: int) -> list[float]:
    """Seconds a call, the accelerator's queue emptied before each reading of the clock."""

    def call() -> float:
        start = time.perf_counter()
        predict(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - start

    with torch.inference_mode():
        for _ in range(warm_up):
            call()
        return [call() for _ in range(repeats)]
