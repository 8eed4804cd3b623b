"""The loop: it learns, resumes to the same bits, keeps the best, and stops on NaN naming the batch."""

from __future__ import annotations

import errno
import math
import os
import subprocess

import pytest
import torch
from safetensors import safe_open
from torch import nn

from crossprobe.errors import CrossprobeError, TrainingDiverged
from crossprobe.training import loop, progress_file
from crossprobe.training.loop import learning_rate, train
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.settings import OptimiserSettings, TrainingSettings

SAMPLES = 24


class Line:
    """Fits a noisy line with dropout, so that the random state matters."""

    figure = "error"

    def __init__(self, settings: TrainingSettings, poison_step: int | None = None) -> None:
        torch.manual_seed(3)
        self.x = torch.randn(SAMPLES, 4)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 1
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.sampler = ShuffledSampler(SAMPLES, settings.batch_size, settings.seed)
        self.steps_seen: list[list[int]] = []
        self.poison_step = poison_step

    def loss(self, batch: Batch):
        self.steps_seen.append(batch.rows.tolist())
        value = (self.module(self.x[batch.rows]).squeeze(1) - self.y[batch.rows]).square().mean()
        if self.poison_step is not None and len(self.steps_seen) > self.poison_step:
            value = value * float("nan")
        return value, {}

    def validate(self, size):
        return {"error": float((self.module(self.x).squeeze(1) - self.y).square().mean())}


def settings(**changes) -> TrainingSettings:
    given = {
        "steps": 40, "batch_size": 8, "validate_every": 10, "save_every": 5,
        "optimiser": {"name": "adamw", "learning_rate": 0.05}, "ema_decay": 0.9, "seed": 1,
    }  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def gone_process() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


def same(first, second) -> bool:
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_it_learns(tmp_path, optimiser, schedule):
    rate = 0.01 if optimiser == "sgd" else 0.05
    given = settings(steps=120, schedule=schedule, optimiser={"name": optimiser, "learning_rate": rate})
    result = train(Line(given), given, SAMPLES, tmp_path, "a")
    errors = result.history.query("part == 'validation' and metric == 'error'")["value"]
    assert errors.iloc[-1] < errors.iloc[0] * 0.5
    assert result.steps == 120


@pytest.mark.parametrize("stop_after", [1, 5, 13, 27, 39])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_resuming_ends_with_the_same_bits(tmp_path, stop_after, optimiser, monkeypatch):
    given = settings(optimiser={"name": optimiser, "learning_rate": 0.01})
    whole = train(Line(given), given, SAMPLES, tmp_path / "whole", "a")

    class PowerCut(Exception):
        pass

    task = Line(given)
    original = task.loss

    def cut(batch):
        if len(task.steps_seen) >= stop_after:
            raise PowerCut
        return original(batch)

    task.loss = cut
    with pytest.raises(PowerCut):
        train(task, given, SAMPLES, tmp_path / "cut", "a")
    resumed_task = Line(given)
    resumed = train(resumed_task, given, SAMPLES, tmp_path / "cut", "a")
    assert same(whole.weights, resumed.weights)
    assert whole.history.equals(resumed.history)
    assert len(resumed_task.steps_seen) == 40 - stop_after // 5 * 5


def test_a_finished_run_is_not_run_again(tmp_path):
    given = settings()
    first = train(Line(given), given, SAMPLES, tmp_path, "a")
    again = Line(given)
    second = train(again, given, SAMPLES, tmp_path, "a")
    assert again.steps_seen == []
    assert same(first.weights, second.weights)
    assert second.best_step == first.best_step


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_finished_run_keeps_its_best_weights_and_history_only(tmp_path, ema_decay):
    given = settings(ema_decay=ema_decay)
    first = train(Line(given), given, SAMPLES, tmp_path, "a")
    with safe_open(tmp_path / "progress.safetensors", framework="pt") as handle:
        kept = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping
    assert same(kept, {f"best/{name}": value for name, value in first.weights.items()})
    written = (tmp_path / "progress.safetensors").stat().st_mtime_ns
    second = train(Line(given), given, SAMPLES, tmp_path, "a")
    assert same(first.weights, second.weights)
    assert first.history.equals(second.history)
    assert (second.best_step, second.best_figure, second.steps) == (first.best_step, first.best_figure, 40)
    assert (tmp_path / "progress.safetensors").stat().st_mtime_ns == written


def test_a_finished_run_does_not_go_on_to_more_steps(tmp_path):
    train(Line(settings()), settings(), SAMPLES, tmp_path, "a")
    longer = settings(steps=60)
    with pytest.raises(CrossprobeError, match=r"progress\.safetensors holds a run finished after 40 steps"):
        train(Line(longer), longer, SAMPLES, tmp_path, "a")


def test_another_run_is_not_resumed(tmp_path):
    given = settings()
    train(Line(given), given, SAMPLES, tmp_path, "a" * 64)
    with pytest.raises(CrossprobeError, match=r"progress\.safetensors belongs to another run"):
        train(Line(given), given, SAMPLES, tmp_path, "b" * 64)


def test_nan_stops_and_keeps_the_last_good_state(tmp_path):
    given = settings()
    with pytest.raises(TrainingDiverged, match=r"became nan at step 12 \(rows \[.*lower the learning rate"):
        train(Line(given, poison_step=12), given, SAMPLES, tmp_path, "a", "line")
    after = Line(given)
    train(after, given, SAMPLES, tmp_path, "a")
    assert len(after.steps_seen) == 30


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_a_validation_figure_that_is_no_number_stops_too(tmp_path, keep, figure):
    given, task = settings(keep=keep), Line(settings())
    task.validate = lambda size: {"error": figure}
    with pytest.raises(
        TrainingDiverged, match=f"the validation figure error became {figure} at step 10; the"
    ):
        train(task, given, SAMPLES, tmp_path, "a", "line")
    assert loop.finished(given, SAMPLES, tmp_path, "a") is None
    after = Line(given)
    assert train(after, given, SAMPLES, tmp_path, "a").weights
    assert len(after.steps_seen) == 35


def test_a_run_without_weights_is_not_finished(tmp_path, monkeypatch):
    given = settings()
    monkeypatch.setattr(loop._Run, "_validate", lambda run: None)
    with pytest.raises(TrainingDiverged, match="no validation up to step 40 left weights to keep"):
        train(Line(given), given, SAMPLES, tmp_path, "a")
    done = progress_file.Progress(step=40, finished=True)
    progress_file.save_progress(tmp_path / loop.PROGRESS_NAME, "a", done, {"best": {}}, None)
    with pytest.raises(CrossprobeError, match="holds a finished run without weights"):
        loop.finished(given, SAMPLES, tmp_path, "a")


def test_a_diverged_loss_names_the_samples(tmp_path):
    given, task = settings(), Line(settings(), poison_step=12)
    task.names = lambda rows: [f"v{row}/0" for row in rows.tolist()]
    first = task.sampler.batch(12).rows[0]
    with pytest.raises(TrainingDiverged, match=rf"became nan at step 12 \(frames v{first}/0, v"):
        train(task, given, SAMPLES, tmp_path, "a")


def test_logged_figures_are_means_over_the_micro_batches(tmp_path):
    given, task = settings(accumulate=4, validate_every=5), Line(settings())
    honest = task.loss

    def counted(batch):
        own = {"only_of_the_first": 7.0} if batch.piece == 0 else {}
        return honest(batch)[0], {"piece": torch.tensor(float(batch.piece)), **own}

    task.loss = counted
    history = train(task, given, SAMPLES, tmp_path, "a").history.query("part == 'train'")
    assert set(history.query("metric == 'piece'")["value"]) == {1.5}
    assert set(history.query("metric == 'only_of_the_first'")["value"]) == {7.0}


def test_a_full_disk_keeps_the_last_good_state(tmp_path, monkeypatch):
    given = settings()
    whole = train(Line(given), given, SAMPLES, tmp_path / "whole", "a")
    real, calls = progress_file.save_file, []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / f".progress.safetensors.{gone_process()}.tmp").touch()
    other = tmp_path / "full" / f".progress.safetensors.{os.getppid()}.tmp"
    other.touch()

    def full_at_third(tensors, path, metadata):
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, metadata)

    monkeypatch.setattr(progress_file, "save_file", full_at_third)
    with pytest.raises(OSError, match="No space left"):
        train(Line(given), given, SAMPLES, tmp_path / "full", "a")
    assert {file.name for file in calls} == {f".progress.safetensors.{os.getpid()}.tmp"}
    # Of other processes' drafts, one that still runs keeps its own.
    assert {file.name for file in (tmp_path / "full").iterdir()} == {"progress.safetensors", other.name}
    resumed = Line(given)
    result = train(resumed, given, SAMPLES, tmp_path / "full", "a")
    assert len(resumed.steps_seen) == 30
    assert same(result.weights, whole.weights)


def test_best_and_last_weights(tmp_path):
    given = settings(steps=60, optimiser={"name": "sgd", "learning_rate": 0.05}, schedule="constant")
    best = train(Line(given), given, SAMPLES, tmp_path / "best", "a")
    errors = best.history.query("part == 'validation'").set_index("step")["value"]
    assert best.best_step == errors.idxmin()
    last = settings(
        steps=60, keep="last", optimiser={"name": "sgd", "learning_rate": 0.05}, schedule="constant"
    )
    assert train(Line(last), last, SAMPLES, tmp_path / "last", "b").best_step == 60


def test_the_average_lags_behind(tmp_path):
    plain, averaged = settings(ema_decay=None, keep="last"), settings(ema_decay=0.999, keep="last")
    moved = train(Line(plain), plain, SAMPLES, tmp_path / "plain", "a").weights
    lagging = train(Line(averaged), averaged, SAMPLES, tmp_path / "ema", "a").weights
    start = Line(plain).module.state_dict()
    distance = {
        name: sum(float((weights[key] - start[key]).float().norm()) for key in ("0.weight", "3.weight"))
        for name, weights in {"plain": moved, "ema": lagging}.items()
    }
    assert 0 < distance["ema"] < 0.2 * distance["plain"]


def test_accumulation_adds_up_to_the_whole_batch(tmp_path):
    class Smooth(Line):
        def __init__(self, given):
            super().__init__(given)
            torch.manual_seed(5)
            self.module = nn.Linear(4, 1)

    whole = settings(ema_decay=None)
    split = settings(ema_decay=None, accumulate=4)
    a = train(Smooth(whole), whole, SAMPLES, tmp_path / "a", "a").weights
    b = train(Smooth(split), split, SAMPLES, tmp_path / "b", "b").weights
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def test_warm_up_then_cosine():
    given = settings(steps=100, warmup_steps=10, optimiser={"learning_rate": 2.0})
    assert learning_rate(0, 100, given) == pytest.approx(0.2)
    assert learning_rate(9, 100, given) == pytest.approx(2.0)
    assert learning_rate(55, 100, given) == pytest.approx(1.0)
    assert learning_rate(100, 100, given) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate(77, 100, given.model_copy(update={"schedule": "constant"})) == 2.0


def test_epochs_are_converted_to_steps():
    given = TrainingSettings(epochs=3, batch_size=8, optimiser=OptimiserSettings(learning_rate=1.0))
    assert given.total_steps(100) == math.floor(300 / 8 + 0.5)


@pytest.mark.parametrize("budget", [{}, {"steps": 3, "epochs": 1}])
def test_exactly_one_budget(budget):
    with pytest.raises(ValueError, match="exactly one of `steps` and `epochs`"):
        TrainingSettings(batch_size=8, optimiser=OptimiserSettings(learning_rate=1.0), **budget)


def test_learning_rate_of_the_history_follows_the_schedule(tmp_path):
    given = settings(warmup_steps=4)
    history = train(Line(given), given, SAMPLES, tmp_path, "a").history
    rates = history.query("metric == 'learning_rate'")
    expected = [loop.learning_rate(step - 1, 40, given) for step in rates["step"]]
    assert rates["value"].tolist() == pytest.approx(expected)
