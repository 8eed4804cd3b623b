"""The table on the screen and the same figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.timing import Result

COLUMNS = (
    "case", "ours", "plain", "time ratio", "lowest-highest", "work ratio", "p50 ms", "p95 ms", "GFLOP",
    "of peak", "plain of peak", "MB", "plain MB",
)  # fmt: skip


def table(machine: Machine, results: Sequence[Result]) -> str:
    """Writes the results as Markdown.

    Args:
        machine: Where they were measured.
        results: Lines.

    Returns:
        The machine's figures and the table.
    """
    head = (
        f"{machine.device}; torch {machine.torch_version}, Python {machine.python_version}\n"
        f"measured peaks: {machine.bf16_tflops:.3f} TFLOP/s bf16, {machine.fp32_tflops:.3f} TFLOP/s fp32, "
        f"{machine.copy_gb_per_second:.1f} GB/s copied (read and written)\n"
    )
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(_cells(result) for result in results)]
    return head + "\n" + "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_json(path: Path, machine: Machine, results: Sequence[Result], how: dict[str, object]) -> None:
    """Writes everything to a file.

    Args:
        path: The file; its folder is made where missing.
        machine: Where the results were measured.
        results: Lines.
        how: Options of the run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine.as_dict(), "run": how, "results": [result.as_dict() for result in results]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _cells(result: Result) -> tuple[str, ...]:
    ours = (f"{result.case} ({result.precision})", f"{result.count / result.ours_s:.4g} {result.unit}/s")
    if math.isnan(result.plain_s):
        alone = ("does not fit", "", "", "", f"{result.ours_p50_ms:.4g}", f"{result.ours_p95_ms:.4g}")
        return (*ours, *alone, "", "", "", f"{result.ours_memory_mb:.0f}", "")
    return (
        *ours,
        f"{result.count / result.plain_s:.4g}",
        f"{result.time_ratio:.3f}",
        f"{result.ratio_lowest:.3f}-{result.ratio_highest:.3f}",
        f"{result.work_ratio:.3f}",
        f"{result.ours_p50_ms:.4g}",
        f"{result.ours_p95_ms:.4g}",
        f"{result.gflop:.1f}",
        f"{result.ours_of_peak:.1%}",
        f"{result.plain_of_peak:.1%}",
        f"{result.ours_memory_mb:.0f}",
        f"{result.plain_memory_mb:.0f}",
    )
