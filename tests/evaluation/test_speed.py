"""Counts that can be worked out by hand, and a clock that runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossprobe.evaluation.speed import gigaflops, measure_speed, parameter_count
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.inference_form import inference_form
from crossprobe.models.transunet import TransUNet


def test_counts_by_hand():
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    assert parameter_count(convolution, convolution) == 4 * 9 + 4
    expected = 2 * 4 * 9 * 10 * 12
    assert gigaflops(convolution, torch.zeros(3, 1, 10, 12)) * 1e9 == expected, "one frame, not the batch"


def test_a_first_call_that_does_more_is_not_counted():
    convolution, calls = nn.Conv2d(1, 4, 3, padding=1), []

    def records_first(images):
        calls.append(len(images))
        for _ in range(4 if len(calls) == 1 else 1):
            convolution(images)

    assert gigaflops(records_first, torch.zeros(3, 1, 10, 12)) * 1e9 == 2 * 4 * 9 * 10 * 12
    assert calls == [1, 1]


def test_attention_is_counted_whatever_fuses_it():
    torch.manual_seed(0)
    module = TransUNet(TransUNetConfig.mini(image_size=32, depth=2)).eval()
    written_out = inference_form(module, for_processor=True)
    frame = torch.zeros(1, 1, 32, 32)
    assert gigaflops(module, frame) == pytest.approx(gigaflops(written_out, frame), rel=1e-9)


def test_short_cuts_are_timed_and_plain_modules_counted():
    def replayed(images):
        return images

    row = measure_speed("fused", replayed, torch.zeros(4, 1, 16, 16), counted=nn.Conv2d(1, 2, 3))
    assert row["gflop"] * 1e9 == 2 * 2 * 9 * 14 * 14


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
