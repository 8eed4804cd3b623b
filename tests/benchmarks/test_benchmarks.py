"""The benchmark runs from end to end and says what it measured; how fast anything is, no test asserts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

PROJECT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_quick_run_prints_every_case_and_writes_json(tmp_path):
    file = tmp_path / "out" / "speed.json"
    done = run("--quick", "--device", "cpu", "--threads", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert {"case", "ours", "plain", "time ratio", "p50 ms", "p95 ms", "of peak", "MB"} <= set(head)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "TFLOP/s bf16" in done.stdout
    found = json.loads(file.read_text())
    names = [result["case"] for result in found["results"]]
    wanted = ("frames", "two views", "masked input", "MT-NXent", "MIM step", "contrastive step",
              "fine-tune step", "EfficientNet-B0 step",
              "two branches, batched", "two branches, one at a time")  # fmt: skip
    assert len(names) == len(lines) - 2 == len(wanted)
    assert all(name.startswith(start) for name, start in zip(names, wanted, strict=True))
    for result in found["results"]:
        for key in (
            "time_ratio",
            "ratio_lowest",
            "ratio_highest",
            "work_ratio",
            "ours_per_second",
            "plain_per_second",
        ):
            assert math.isfinite(result[key])
            assert result[key] > 0
        assert result["ratio_lowest"] <= result["time_ratio"] <= result["ratio_highest"]
        assert result["ours_p50_ms"] <= result["ours_p95_ms"]
        assert (result["gflop"] > 0) == (result["case"] not in ("frames", "two views", "masked input"))
    assert found["machine"]["bf16_tflops"] > 0
    assert found["machine"]["device"]


def test_frames_of_a_file_are_used_and_others_refused(tmp_path):
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 256, (3, 70, 90), dtype=np.uint8))
    done = run("--quick", "--device", "cpu", "--only", "masks", "--frames", str(tmp_path / "frames.npy"))
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "other.npy", np.zeros((3, 4)))
    done = run("--quick", "--device", "cpu", "--only", "masks", "--frames", str(tmp_path / "other.npy"))
    assert done.returncode != 0
    assert "expected uint8 frames [N, H, W], got float64 (3, 4)" in done.stderr


@pytest.fixture
def benchmark_modules(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT))
    from benchmarks import frames, plain

    return frames, plain


def test_both_sides_see_the_same_frames(benchmark_modules):
    frames, plain = benchmark_modules
    some = frames.load_frames(None, 3, 64)
    stored = torch.from_numpy(some.images(np.arange(3)))[:, None].float() / 255
    torch.testing.assert_close(plain.decoded(some.png_images, 64), stored)
    masks = (plain.decoded(some.png_masks, 64) > 0.5).float()[:, 0].numpy()
    assert (masks != some.masks(np.arange(3))).mean() < 0.02, "two ways of resizing a disc"


def test_the_plain_loss_is_that_of_the_library(benchmark_modules):
    from crossprobe.ssl.nt_xent import mt_nxent

    _, plain = benchmark_modules
    first, second = torch.randn(2, 12, 6).unbind()
    index = torch.arange(12)
    left_out = (index[:, None] // 4 == index // 4) & ((index[:, None] - index).abs() < 2)
    ours = mt_nxent(first, second, index // 4, index, 0.5, 2).loss
    torch.testing.assert_close(plain.contrastive_loss(first, second, left_out, 0.5), ours)
    simclr = plain.contrastive_loss(first, second, torch.eye(12, dtype=torch.bool), 0.5)
    vectors = F.normalize(torch.cat([first, second]), dim=1)
    similar = (vectors @ vectors.T / 0.5).fill_diagonal_(-torch.inf)
    torch.testing.assert_close(simclr, F.cross_entropy(similar, (torch.arange(24) + 12) % 24))


def test_nothing_of_the_pipelines_is_imported():
    code = "import sys, benchmarks.__main__; sys.exit(bool({'kedro', 'mlflow'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_the_floor_is_counted_without_computing(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT))
    from benchmarks.floor import count_work

    from crossprobe.evaluation.speed import gigaflops
    from crossprobe.models.inference_form import inference_form
    from crossprobe.models.transunet import TransUNet, TransUNetConfig

    config = TransUNetConfig.mini(image_size=64)
    works = {work.name: work for work in count_work(config, batch=2)}
    inference = works["inference, one branch, bf16"]
    form = inference_form(TransUNet(config), for_processor=True)
    assert inference.gflop == pytest.approx(gigaflops(form, torch.zeros(1, 1, 64, 64)), rel=1e-6)
    for name in ("MIM step, fp32", "fine-tune step, fp32"):
        assert 2.5 * inference.gflop < works[name].gflop < 3.5 * inference.gflop, "a step is three passes"
    weights = sum(one.numel() for one in form.parameters())
    assert inference.least_mb * 2 * 2**20 == 2 * weights + 2 * 2 * 2 * 64 * 64
    assert all(work.layers_mb > work.least_mb for work in works.values() if "step" not in work.name)


def test_a_plain_loop_that_does_not_fit_is_said_so(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT))
    from benchmarks.machine import Machine
    from benchmarks.report import table
    from benchmarks.timing import compare

    def hungry():
        raise torch.OutOfMemoryError("CUDA out of memory")

    device = torch.device("cpu")
    machine = Machine("a chip", torch.__version__, "3", 2.0, 1.0, 1.0)
    product = torch.ones(8, 8)
    found = compare("a step", "images", 4, lambda: product @ product, hungry, machine, device, 3, True)
    assert found.ours_s > 0
    assert math.isnan(found.plain_s)
    assert "does not fit" in table(machine, [found])
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["time_ratio"] is None
    assert content["ours_per_second"] > 0
