"""A run is known by what decides its weights: each such thing changes its identity, and nothing else does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import shared_runs

from crossprobe.training import identity
from crossprobe.training import session as session_module
from crossprobe.training.runtime import resolve
from crossprobe.training.session import TrainingSession

JOBS = shared_runs.jobs()
JOB = JOBS["dice_of_each"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return shared_runs.write_store(tmp_path_factory.mktemp("frames") / "store")


@pytest.fixture
def known_by(store, tmp_path):
    """Gives the identity of a run that differs from the others in what is given."""

    def of(job=JOB, start=None, rows=shared_runs.TRAINING, machine=None, others=(), title="a", **changes):
        session = TrainingSession(
            title, store, rows, shared_runs.VALIDATION, shared_runs.settings(**changes),
            resolve(shared_runs.machine(**(machine or {}))), tmp_path, others,
        )  # fmt: skip
        return session.identity(job, start)

    return of


def start(value: float = 0.0, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value, dtype=dtype)}


def with_model(**changes):
    return JOB.model_copy(update={"model": JOB.model.model_copy(update=changes)})


@pytest.mark.parametrize(
    "change",
    [
        {"job": JOBS["mim"]},
        {"job": JOBS["dice_of_batch"]},
        {"job": with_model(dropout=0.1)},
        {"job": JOB.model_copy(update={"shuffled_labels": True})},
        {"start": None},
        {"start": start(1.0)},
        {"start": start(dtype=torch.bfloat16)},
        {"rows": np.arange(15)},
        {"seed": 2},
        {"steps": 21},
        {"validate_every": 4},
        {"machine": {"micro_batch": 2}},
        {"machine": {"distribution": {"processes_per_node": 2, "synchronise_norm": False}}},
    ],
    ids=str,
)
def test_what_decides_weights_changes_the_identity(known_by, change):
    assert known_by(**({"start": start()} | change)) != known_by(start=start())


@pytest.mark.parametrize(
    "change",
    [
        {"start": {"w": torch.zeros(6)[::2]}},
        {"save_every": 17},
        {"title": "b"},
        {"machine": {"workers": 3}},
        {"machine": {"compile": True, "fused_optimiser": True}},
        {"machine": {"distribution": {"processes_per_node": 2}}},
    ],
    ids=str,
)
def test_what_does_not_leaves_it_alone(known_by, change):
    assert known_by(**({"start": start()} | change)) == known_by(start=start())


def test_with_dropout_the_number_of_processes_decides(known_by):
    """Every process draws its own numbers, so that another number of them gives other weights."""
    two = {"distribution": {"processes_per_node": 2}}
    for rates in ({"dropout": 0.1}, {"attention_dropout": 0.1}):
        assert known_by(with_model(**rates), machine=two) != known_by(with_model(**rates))
    assert known_by(with_model(dropout=0.1), machine={"compile": True}) != known_by(with_model(dropout=0.1))


def test_a_trained_task_opens_the_validation_frames_alone(store, tmp_path, monkeypatch):
    opened, real = [], session_module.FrameSource

    def source(store, rows, device, labels):
        opened.append(rows.tolist())
        return real(store, rows, device, labels)

    monkeypatch.setattr(session_module, "FrameSource", source)
    session = TrainingSession(
        "a", store, shared_runs.TRAINING, shared_runs.VALIDATION, shared_runs.settings(),
        resolve(shared_runs.machine()), tmp_path,
    )  # fmt: skip
    weights = shared_runs.jobs_start()
    task = session.trained(JOB, weights)
    assert opened == [shared_runs.VALIDATION.tolist()]
    assert all(torch.equal(task.module.state_dict()[name], value) for name, value in weights.items())


@pytest.mark.parametrize("what", ["versions", "code_hash"])
def test_another_version_starts_afresh(known_by, monkeypatch, what):
    before = known_by()
    monkeypatch.setattr(identity, what, lambda *names: dict.fromkeys(names, "another"))
    assert known_by() != before


def test_a_built_task_is_known_by_its_weights_and_what_it_was_made_of(known_by):
    class Built:
        module = torch.nn.Linear(2, 1)

    before = known_by(Built(), others=("rate", 1))
    assert known_by(Built(), others=("rate", 1)) == before
    assert known_by(Built(), others=("rate", 2)) != before
    with torch.no_grad():
        Built.module.bias += 1
    assert known_by(Built(), others=("rate", 1)) != before


def test_an_arm_takes_what_another_trained_alike(store, tmp_path, caplog):
    def session(title: str, **changes) -> TrainingSession:
        given = shared_runs.settings(steps=2, validate_every=2, **changes)
        return TrainingSession(
            title, store, shared_runs.TRAINING, shared_runs.VALIDATION, given, resolve(shared_runs.machine()),
            tmp_path,
        )  # fmt: skip

    first = session("finetune.simclr").run(JOB)
    with caplog.at_level("INFO"):
        second = session("finetune.mt_nxent").run(JOB)
    assert "finetune.mt_nxent: nothing changed since it was trained, taken from" in caplog.text
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert [folder.name for folder in tmp_path.iterdir()] == [f"finetune.simclr-{first.identity[:16]}"]
    session("finetune.mt_nxent", seed=2).run(JOB)
    assert len(list(tmp_path.iterdir())) == 2
