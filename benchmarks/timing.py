"""Times two ways of doing the same work, turn by turn, so that a busy machine slows both."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import Clock, Machine, PeakMemory

Work = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        case: Name of what was timed.
        unit: What a call does so many of: `images`, `frames` or `pairs`.
        count: How many of them a call does.
        ours_s: Median seconds a call.
        plain_s: The same of the plain loop.
        time_ratio: Median over turns of ours / plain.
        ratio_lowest: Smallest ratio of a turn.
        ratio_highest: Largest ratio of a turn.
        work_ratio: Median ratio of the times that the device worked for this process: on a processor that is
            busy with other things too, the figure to trust; on a GPU the same as `time_ratio`.
        ours_p50_ms: Median milliseconds a call of ours.
        ours_p95_ms: Its 95th percentile.
        gflop: 10^9 floating point operations a call of the plain loop.
        ours_of_peak: Those operations over our time at work, as a share of our precision's measured peak.
        plain_of_peak: The same of the plain loop in single precision.
        ours_memory_mb: Peak memory of a first call beyond what was in use.
        plain_memory_mb: The same of the plain loop.
        precision: Of our computation.
    """

    case: str
    unit: str
    count: int
    ours_s: float
    plain_s: float
    time_ratio: float
    ratio_lowest: float
    ratio_highest: float
    work_ratio: float
    ours_p50_ms: float
    ours_p95_ms: float
    gflop: float
    ours_of_peak: float
    plain_of_peak: float
    ours_memory_mb: float
    plain_memory_mb: float
    precision: str

    def as_dict(self) -> dict[str, object]:
        """Gives everything under its name, with the rates that follow from it; None where nothing fitted."""
        rates = {"ours_per_second": self.count / self.ours_s, "plain_per_second": self.count / self.plain_s}
        found = {**asdict(self), **rates}
        return {key: None if value != value else value for key, value in found.items()}


def compare(
    case: str, unit: str, count: int, ours: Work, plain: Work, machine: Machine, device: torch.device,
    repeats: int, bf16: bool,
) -> Result:  # fmt: skip
    """Runs both in turns, or ours alone where the plain loop does not fit into memory.

    Args:
        case: Name of the line.
        unit: What is counted.
        count: How many of them a call does.
        ours: A call of ours.
        plain: A call of the plain loop.
        machine: Its peaks.
        device: Where both run.
        repeats: Timed turns.
        bf16: Whether ours computes in half precision.

    Returns:
        The line.
    """
    memory = PeakMemory(device)
    ours()  # builds what is built once, and lets libraries choose their kernels
    memory.start()
    _timed(ours, device)
    ours_memory = memory.stop_mb()
    with FlopCounterMode(display=False) as counter:
        fits = _fits(plain)
    operations = float(counter.get_total_flops()) if fits else math.nan
    memory.start()
    _timed_if(fits, plain, device)
    plain_memory = memory.stop_mb() if fits else math.nan
    turns = [(_timed(ours, device), _timed_if(fits, plain, device)) for _ in range(repeats)]
    ours_work_s, plain_work_s = (
        statistics.median(one.work_s for one in column) for column in zip(*turns, strict=True)
    )
    ours_s, plain_s = (statistics.median(one.wall_s for one in column) for column in zip(*turns, strict=True))
    ratios = [first.wall_s / second.wall_s for first, second in turns]
    ours_ms = [1000 * first.wall_s for first, _ in turns]
    peak = machine.bf16_tflops if bf16 else machine.fp32_tflops
    return Result(
        case=case, unit=unit, count=count, ours_s=ours_s, plain_s=plain_s,
        time_ratio=statistics.median(ratios), ratio_lowest=min(ratios), ratio_highest=max(ratios),
        work_ratio=statistics.median(first.work_s / second.work_s for first, second in turns),
        ours_p50_ms=float(np.percentile(ours_ms, 50)), ours_p95_ms=float(np.percentile(ours_ms, 95)),
        gflop=operations / 1e9,
        ours_of_peak=operations / ours_work_s / 1e12 / peak,
        plain_of_peak=operations / plain_work_s / 1e12 / machine.fp32_tflops,
        ours_memory_mb=ours_memory, plain_memory_mb=plain_memory, precision="bf16" if bf16 else "fp32",
    )  # fmt: skip


def _fits(work: Work) -> bool:
    """Tries a piece of work; its memory is given back where that ran out."""
    try:
        work()
    except torch.OutOfMemoryError:
        fits = False
    else:
        fits = True
    # Outside the handler: until here the traceback held the tensors.
    if not fits:
        gc.collect()
        torch.cuda.empty_cache()
    return fits


class _Duration(NamedTuple):
    wall_s: float
    work_s: float


def _timed_if(fits: bool, work: Work, device: torch.device) -> _Duration:
    return _timed(work, device) if fits else _Duration(math.nan, math.nan)


def _timed(work: Work, device: torch.device) -> _Duration:
    clock = Clock(device)
    work()
    return _Duration(*clock.read())
