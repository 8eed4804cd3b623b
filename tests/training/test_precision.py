"""Loss curves in bf16 and fp32 end within noise of each other, over three seeds.

`CROSSPROBE_PRECISION_STEPS=600 python -m pytest tests/training/test_precision.py` prints a longer comparison.
A chip without bf16 takes a hundred times as long for it, and is given fewer steps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import shared_runs

from crossprobe.training.frame_source import FrameSource
from crossprobe.training.loop import train
from crossprobe.training.runtime import resolve

FAST = resolve(shared_runs.machine().model_copy(update={"precision": "auto"})).bf16
STEPS = int(os.environ.get("CROSSPROBE_PRECISION_STEPS", "40" if FAST else "14"))
EVERY = max(5, STEPS // 10)  # training losses are noted five times as often
SEEDS = (0, 1, 2)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mim", "mt_nxent", "dice_of_each"])
def test_bf16_ends_where_fp32_does(tmp_path, name, one_thread, capsys):
    store = shared_runs.write_store(tmp_path / "store")
    job = shared_runs.jobs()[name]
    ends: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for precision, found in ends.items():
        machine = shared_runs.machine().model_copy(update={"precision": precision})
        runtime = resolve(machine)
        assert runtime.bf16 == (precision == "bf16")
        for seed in SEEDS:
            given = shared_runs.settings(
                steps=STEPS, validate_every=EVERY, seed=seed, warmup_steps=5, gradient_clip=1.0,
                optimiser={"name": "adamw", "learning_rate": 1e-3},
            )  # fmt: skip
            rows = (shared_runs.TRAINING, shared_runs.VALIDATION)
            sources = [FrameSource(store, part, runtime.device, job.labels) for part in rows]
            task = job.build(*sources, given, runtime)
            history = train(task, given, 16, tmp_path / precision / str(seed), "a", runtime=runtime).history
            losses = history.query("part == 'train' and metric == 'loss'")["value"].to_numpy()
            quarter = len(losses) // 4
            assert name == "mt_nxent" or losses[-quarter:].mean() < losses[:quarter].mean(), (
                "nothing is learned"
            )
            found.append(float(losses[-quarter:].mean()))
    means = {precision: np.mean(found) for precision, found in ends.items()}
    noise = np.sqrt(np.mean([np.var(found, ddof=1) for found in ends.values()]))
    with capsys.disabled():
        print(  # noqa: T201 - the figures are asked for
            f"\n{name}, {STEPS} steps, mean loss of the last quarter over seeds {SEEDS}: "
            + ", ".join(f"{precision} {np.round(found, 4).tolist()}" for precision, found in ends.items())
            + f"; difference of means {means['bf16'] - means['fp32']:+.4f}, deviation of a seed {noise:.4f}"
        )
    assert abs(means["bf16"] - means["fp32"]) < 2 * noise + 0.01 * means["fp32"]
