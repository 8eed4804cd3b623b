"""`python -m benchmarks`: times crossprobe beside a plain loop and prints a table."""

from __future__ import annotations

import argparse
import gc
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.cases import CASES, Bench
from benchmarks.frames import load_frames
from benchmarks.machine import measure_machine
from benchmarks.report import table, write_json
from benchmarks.scale import choose_scale
from benchmarks.timing import Result
from crossprobe.training.runtime import resolve
from crossprobe.training.settings import InferenceSettings, RuntimeSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases asked for.

    Args:
        arguments: Of the command line; None takes those of the process.

    Returns:
        0.
    """
    options = _parser().parse_args(arguments)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the plain loop draws as plain loops do
    runtime = resolve(
        RuntimeSettings(
            device=options.device,
            precision=options.precision,
            threads=options.threads,
            inference=InferenceSettings(compiled=options.compile),
        )
    )
    scale = choose_scale(options.model, runtime.device, options.quick, options.repeats)
    print(f"running on {runtime.describe()}", file=sys.stderr, flush=True)
    machine = measure_machine(runtime.device, options.quick)
    frames = load_frames(options.frames, scale.frames, scale.model.image_size)
    bench = Bench(frames, scale, runtime, machine, options.compile)
    results: list[Result] = []
    for name in options.only or CASES:
        for result in CASES[name](bench):
            results.append(result)
            print(f"{result.case}: time ratio {result.time_ratio:.3f}", file=sys.stderr, flush=True)
        # Modules and optimisers of a case hold gigabytes in reference cycles.
        gc.collect()
        if runtime.device.type == "cuda":
            torch.cuda.empty_cache()
    print(table(machine, results))
    if options.json:
        how = {"model": scale.model.model_dump(mode="json"), "repeats": scale.repeats, "quick": options.quick,
               "compiled": options.compile}  # fmt: skip
        write_json(options.json, machine, results, how)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="everything tiny: shows that it runs, not how fast"
    )
    parser.add_argument(
        "--model", choices=("full", "mini"), default="full", help="R50-ViT-B16 or the small one"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), help="these cases only")
    parser.add_argument("--repeats", type=int, help="timed turns of each case")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--frames", type=Path, help=".npy file of uint8 frames [N, H, W] to work on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of our side")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--compile", action="store_true", help="our side through torch.compile")
    return parser


if __name__ == "__main__":
    sys.exit(main())
