"""Counts that can be worked out by hand, and a clock that runs."""

from __future__ import annotations

import torch
from torch import nn

from crossprobe.evaluation.speed import gigaflops, measure_speed, parameter_count


def test_counts_by_hand():
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    assert parameter_count(convolution, convolution) == 4 * 9 + 4
    expected = 2 * 4 * 9 * 10 * 12
    assert gigaflops(convolution, torch.zeros(3, 1, 10, 12)) * 1e9 == expected, "one frame, not the batch"


def test_measures_a_predictor():
    module = nn.Conv2d(1, 2, 3)
    row = measure_speed("mim", module, torch.zeros(4, 1, 16, 16), (module,), repeats=5, warm_up=1)
    assert row["arm"] == "mim"
    assert row["parameters"] == 20
    assert 0 < row["latency_ms_p50"] <= row["latency_ms_p95"]
    assert row["frames_per_second"] > 0
    assert row["peak_memory_mb"] > 10
    assert row["memory_of"] == "process"
    assert "threads" in row["device"]
