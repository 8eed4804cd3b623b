"""A long training and the next night's run: one of them waits, and nothing is trained twice."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossprobe.data.ledger import LedgerSettings
from crossprobe.errors import FolderBusy
from crossprobe.pipelines import session
from crossprobe.pipelines.arrivals import nodes
from crossprobe.pipelines.arrivals.settings import ArrivalsSettings
from crossprobe.pipelines.ledger import open_ledger
from crossprobe.pipelines.run_context import RunContext
from crossprobe.pipelines.training_lock import training_in_progress, training_lock, wait_for_training


@pytest.fixture
def ledger(tmp_path, monkeypatch) -> LedgerSettings:
    monkeypatch.setattr(nodes, "run_context", lambda: RunContext(project=tmp_path))
    return LedgerSettings(file=tmp_path / "ledger.sqlite", lock_wait_seconds=0.1)


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """Pipelines that a training has run."""
    names: list[str] = []
    monkeypatch.setattr(session, "run_in_new_process", lambda project, pipeline, *_: names.append(pipeline))
    return names


@contextmanager
def another_process_trains(ledger: LedgerSettings):
    """Holds the lock as a stranger would, without the pass that children of the holder have."""
    with open(ledger.file.parent / ".training.lock", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def decide(ledger: LedgerSettings, data: str) -> dict:
    arrivals = {"counts": {"new": 1}, "decoded": 1}
    split = {"hash": data, "parts": {"train": ["p_1"]}}
    return nodes.decide_on_training(ArrivalsSettings(), ledger, arrivals, split, arrivals, split)


def train(ledger: LedgerSettings, decision: dict) -> bool:
    return nodes.train_again(ArrivalsSettings(), ledger, decision)["trained"]


def test_a_run_beside_a_training_decides_for_none(ledger):
    first = decide(ledger, "a")
    assert first["retrain"]
    with another_process_trains(ledger):
        second = decide(ledger, "b")
    assert not second["retrain"]
    assert f"decision {first['number']} of 20" in second["reason"]
    # Nobody is at the open decision any more: it died, and is taken up again.
    assert decide(ledger, "b")["retrain"]


def test_two_runs_that_decided_at_once_train_once(ledger, started):
    first, second = decide(ledger, "a"), decide(ledger, "a")
    assert second["retrain"]
    with another_process_trains(ledger):
        assert not train(ledger, second)
    assert train(ledger, first)
    assert not train(ledger, second)
    assert started == ["cross_domain"]


def test_the_lock_is_held_while_it_trains_and_its_children_pass(ledger, monkeypatch):
    seen = []

    def run(project: Path, *_):
        with (
            pytest.raises(BlockingIOError),
            open(project / ".training.lock", "a") as stranger,
        ):
            fcntl.flock(stranger, fcntl.LOCK_EX | fcntl.LOCK_NB)
        wait_for_training(ledger)
        seen.append("ran")

    monkeypatch.setattr(session, "run_in_new_process", run)
    assert train(ledger, decide(ledger, "a"))
    assert seen == ["ran"]
    assert not training_in_progress(ledger)
    with open_ledger(ledger) as book:
        assert book.open_decision() is None


def test_no_data_are_taken_in_under_a_training(ledger):
    with another_process_trains(ledger):
        with pytest.raises(FolderBusy, match=r"waited 0\.1 s; run again when it has ended"):
            wait_for_training(ledger)
        assert training_in_progress(ledger)
    with training_lock(ledger):
        wait_for_training(ledger)
