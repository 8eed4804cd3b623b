"""The machine: what auto picks on a CPU, what a switch does, and what it says when it cannot."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossprobe.errors import CrossprobeError
from crossprobe.training.compiling import is_compiler_error
from crossprobe.training.loop import build_optimiser, train
from crossprobe.training.ranks import Ranks
from crossprobe.training.runtime import Runtime, resolve
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.settings import (
    DistributionSettings,
    OptimiserSettings,
    RuntimeSettings,
    TrainingSettings,
)

SETTINGS = TrainingSettings(steps=6, batch_size=4, optimiser=OptimiserSettings(learning_rate=0.05))


class Bend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Line:
    figure = "error"

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.x, self.y = torch.randn(12, 4), torch.randn(12, 1)
        self.module = Bend()
        self.sampler = ShuffledSampler(12, 4, 0)

    def loss(self, batch: Batch):
        return (self.module(self.x[batch.rows]) - self.y[batch.rows]).square().mean(), {}

    def validate(self, size):
        return {"error": float((self.module(self.x) - self.y).square().mean())}


def on_cpu(**changes) -> Runtime:
    return resolve(RuntimeSettings(device="cpu", precision="fp32", **changes))


def test_auto_on_a_cpu():
    runtime = on_cpu()
    assert (runtime.device.type, runtime.bf16, runtime.fused_optimiser) == ("cpu", False, False)
    assert (runtime.processes, runtime.processes_per_node) == (1, 1)
    assert on_cpu(distribution={"processes_per_node": "auto"}).processes == 1
    four = on_cpu(distribution={"nodes": 2, "processes_per_node": 2, "rendezvous": "a:1"})
    assert four.processes == 4
    assert four.describe().startswith("4 processes, each CPU")


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_fused_optimiser_steps_alike(name, tmp_path):
    given = SETTINGS.model_copy(update={"optimiser": OptimiserSettings(name=name, learning_rate=0.05)})
    plain, fused = (
        train(Line(), given, 12, tmp_path / str(asked), "a", runtime=on_cpu(fused_optimiser=asked)).weights
        for asked in (False, True)
    )
    assert all(torch.allclose(plain[key], fused[key], atol=1e-5) for key in plain)
    assert build_optimiser(Line().module, given.optimiser, fused=True).param_groups[0]["fused"]
    assert not build_optimiser(Line().module, given.optimiser).param_groups[0]["fused"]


def test_a_fused_optimiser_resumes(tmp_path):
    machine, given = on_cpu(fused_optimiser=True), SETTINGS.model_copy(update={"save_every": 2})
    whole = train(Line(), given, 12, tmp_path / "whole", "a", runtime=machine).weights
    task = Line()
    honest = task.loss

    def cut(batch):
        if batch.step == 5:
            raise KeyboardInterrupt
        return honest(batch)

    task.loss = cut
    with pytest.raises(KeyboardInterrupt):
        train(task, given, 12, tmp_path / "cut", "a", runtime=machine)
    resumed = train(Line(), given, 12, tmp_path / "cut", "a", runtime=machine).weights
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_training_goes_on_where_compiling_fails(tmp_path, caplog, monkeypatch):
    def cannot(*_arguments, **_options):
        raise OSError("no C++ compiler here")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: real(function, backend=cannot))
    task = Line()
    found = train(task, SETTINGS, 12, tmp_path / "compiled", "a", "line", on_cpu(compile=True)).weights
    assert "line: torch.compile failed (" in caplog.text
    assert "no C++ compiler here" in caplog.text
    expected = train(Line(), SETTINGS, 12, tmp_path / "plain", "a").weights
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_compiled_module_keeps_its_names_and_its_results(tmp_path, monkeypatch):
    real, calls = torch.compile, []

    def traced(graph, _inputs):
        calls.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, **_: real(function, backend=traced))
    found = train(Line(), SETTINGS, 12, tmp_path / "compiled", "a", runtime=on_cpu(compile=True)).weights
    expected = train(Line(), SETTINGS, 12, tmp_path / "plain", "a").weights
    assert calls
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)


def test_an_error_of_the_module_is_none_of_the_compiler():
    assert not is_compiler_error(RuntimeError("shapes do not match"))


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CrossprobeError, match=r"runtime\.device is 'cuda', but torch sees no CUDA device"):
        resolve(RuntimeSettings(device="cuda"))


def test_a_process_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(CrossprobeError, match=r"process 3 of this machine has no GPU of its own: .* 2"):
        resolve(RuntimeSettings(device="cuda"), Ranks(2, 3, 2))


def test_machines_need_a_place_to_meet():
    with pytest.raises(ValueError, match=r"nodes is 2: set runtime\.distribution\.rendezvous"):
        DistributionSettings(nodes=2)
    with pytest.raises(ValueError, match="rendezvous"):
        DistributionSettings(nodes=2, rendezvous="no port")


@pytest.mark.parametrize("asked", [0, -1, "most"])
def test_a_micro_batch_that_makes_no_sense(asked):
    with pytest.raises(ValueError, match="micro_batch"):
        RuntimeSettings(micro_batch=asked)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_a_switch(allowed):
    resolve(RuntimeSettings(device="cuda", precision="fp32", tf32=allowed))
    torch.manual_seed(0)
    a, b = torch.randn(2, 512, 512, device="cuda")
    error = float(((a @ b).double() - a.double() @ b.double()).abs().max())
    assert (error > 1e-3) == allowed
