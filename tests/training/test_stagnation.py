"""A figure that no longer falls ends the run, or lowers its rate, and a resumed run decides alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossprobe.training import loop
from crossprobe.training.loop import train
from crossprobe.training.sampler import ShuffledSampler
from crossprobe.training.settings import EarlyStoppingSettings, PlateauSettings, TrainingSettings
from crossprobe.training.stagnation import has_stagnated, plateau_scale


@pytest.mark.parametrize(
    ("figures", "ends"),
    [
        ([], False),
        ([1.0, 0.9, 0.8, 0.7], False),
        ([1.0, 1.0, 1.0], False),
        ([1.0, 1.0, 1.0, 1.0], True),
        ([1.0, 0.9995, 0.999, 0.9985], False),
        ([1.0, 0.9995, 0.9993, 0.9991], True),
        ([1.0, 1.1, 1.2, 0.9, 0.95, 0.95], False),
    ],
)
def test_stagnation_is_patience_validations_without_a_fall(figures, ends):
    assert has_stagnated(figures, EarlyStoppingSettings(min_delta=0.001, patience=3)) is ends
    assert has_stagnated(figures, None) is False


def test_every_plateau_lowers_the_rate_once():
    settings = PlateauSettings(factor=0.5, patience=2)
    assert [plateau_scale([1.0] * count, settings) for count in range(1, 8)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
        0.125,
    ]
    assert plateau_scale([1.0, 0.9, 0.8, 0.7, 0.6], settings) == 1


class Script:
    """A task whose validation figures are written down beforehand."""

    figure = "error"

    def __init__(self, figures: list[float], settings: TrainingSettings) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self.sampler = ShuffledSampler(8, settings.batch_size, 0)
        self.figures = figures
        self.validations = 0

    def loss(self, batch):
        return self.module(torch.ones(len(batch.rows), 1)).square().mean(), {}

    def validate(self, size):
        self.validations += 1
        return {"error": self.figures[self.validations - 1]}


def settings(**changes) -> TrainingSettings:
    given = {"steps": 12, "batch_size": 4, "validate_every": 1, "save_every": 1,
             "optimiser": {"name": "sgd", "learning_rate": 0.01}}  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def test_a_run_ends_early_and_is_not_begun_again(tmp_path):
    given = settings(early_stopping={"min_delta": 0.001, "patience": 3})
    figures = [1.0, 0.5, 0.6, 0.5, 0.4999, *[9.0] * 7]
    result = train(Script(figures, given), given, 8, tmp_path, "a")
    assert (result.steps, result.best_step, result.best_figure) == (5, 5, 0.4999)
    again = Script([], given)
    repeated = train(again, given, 8, tmp_path, "a")
    assert again.validations == 0
    assert repeated.steps == 5
    assert all(torch.equal(repeated.weights[name], value) for name, value in result.weights.items())


def test_patience_outlives_a_kill(tmp_path, monkeypatch):
    given = settings(early_stopping={"min_delta": 0.0, "patience": 3})
    figures = [1.0] * 12
    killed = Script(figures, given)

    def stop(self):
        if self.progress.step == 2:
            raise KeyboardInterrupt
        save(self)

    save = loop._Run._save
    monkeypatch.setattr(loop._Run, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        train(killed, given, 8, tmp_path, "a")
    monkeypatch.setattr(loop._Run, "_save", save)
    assert train(Script(figures, given), given, 8, tmp_path, "a").steps == 4


def test_the_rate_falls_on_a_plateau(tmp_path):
    given = settings(schedule="plateau", plateau={"factor": 0.1, "patience": 2})
    history = train(Script([1.0] * 12, given), given, 8, tmp_path, "a").history
    rates = history.query("metric == 'learning_rate'")["value"].tolist()
    assert rates[:3] == pytest.approx([0.01] * 3)
    assert rates[3:5] == pytest.approx([0.001] * 2)
    assert rates[5:7] == pytest.approx([0.0001] * 2)
