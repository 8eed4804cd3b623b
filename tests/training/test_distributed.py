"""Runs launched on two processes: one result file, deaths survived or named, and never a hang."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import shared_runs

from crossprobe.errors import CrossprobeError, RankFailed, TrainingDiverged
from crossprobe.training.assignment import Assignment
from crossprobe.training.runtime import resolve
from crossprobe.training.session import TrainingSession

pytestmark = pytest.mark.slow
# Starting two processes takes seconds, but minutes on a machine that is busy with other things.
PATIENCE_S = 400


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return shared_runs.write_store(tmp_path_factory.mktemp("frames") / "store")


@pytest.fixture
def session(store, tmp_path):
    def make(processes: int = 2, **changes) -> TrainingSession:
        distribution = {"processes_per_node": processes, "max_restarts": 0, "timeout_s": 240, **changes}
        given = shared_runs.settings(steps=8, validate_every=4, save_every=2)
        runtime = resolve(shared_runs.machine(distribution=distribution))
        return TrainingSession(
            "finetune.mini", store, shared_runs.TRAINING, shared_runs.VALIDATION, given, runtime, tmp_path
        )

    return make


def fragile(tmp_path, how: str) -> shared_runs.FragileJob:
    plain = shared_runs.jobs()["dice_of_each"].model_dump()
    return shared_runs.FragileJob(**plain, step=5, how=how, marker=tmp_path / "died")


def test_a_killed_process_is_started_again_from_the_checkpoint(session, tmp_path, caplog):
    started = time.monotonic()
    shared, job, start = session(max_restarts=1), fragile(tmp_path, "killed once"), shared_runs.jobs_start()
    result = shared.run(job, start)
    assert time.monotonic() - started < PATIENCE_S
    assert (tmp_path / "died").exists()
    assert result.steps == 8
    alone = session(processes=1)
    # The number of processes is no part of what a run is: alone, the finished run is taken as it is.
    assert alone.identity(job, start) == shared.identity(job, start) == result.identity
    with caplog.at_level("INFO"):
        assert alone.run(job, start).best_figure == result.best_figure
    assert "nothing changed since it was trained" in caplog.text
    plain = TrainingSession(**{**vars(alone), "folder": tmp_path / "alone"})
    expected = plain.run(fragile(tmp_path, "never"), start)
    for name, value in expected.weights.items():
        assert torch.allclose(result.weights[name].float(), value.float(), atol=1e-5), name


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("raises", RankFailed, "process 1 failed: .*the second process has its own reasons"),
        ("diverges", TrainingDiverged, r"the loss became nan at step 5 \(frames v\d/\d+, v"),
    ],
)
def test_a_process_that_fails_says_why(session, tmp_path, how, error, words):
    started = time.monotonic()
    with pytest.raises(error, match=words):
        session().run(fragile(tmp_path, how))
    assert time.monotonic() - started < PATIENCE_S


def test_running_out_of_memory_starts_all_again_in_smaller_pieces(session, tmp_path):
    result = session(max_restarts=1).run(fragile(tmp_path, "out of memory once"))
    assert result.steps == 8
    (note,) = tmp_path.glob("*/micro_batch")
    assert note.read_text() == "2"


def test_a_machine_that_does_not_come(session, tmp_path):
    started = time.monotonic()
    lonely = session(nodes=2, rendezvous="127.0.0.1:29871", timeout_s=5)
    with pytest.raises(RankFailed, match=r"2 machines .* did not meet at 127\.0\.0\.1:29871 within 5 s"):
        lonely.run(fragile(tmp_path, "never"))
    assert time.monotonic() - started < PATIENCE_S


def test_a_second_machine_joins_and_leaves_quietly(session, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "crossprobe.training.join", endpoint, "--patience-s", "8"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as joiner:
        try:
            leader = session(processes=1, nodes=2, rendezvous=endpoint)
            result = leader.run(shared_runs.jobs()["dice_of_each"])
            said = joiner.communicate(timeout=PATIENCE_S)[1]
        finally:
            joiner.kill()
    assert result.steps == 8
    assert joiner.returncode == 0, said
    assert said.splitlines() == ["finetune.mini: taking part with 1 processes", "finetune.mini: done"]


def test_a_built_task_cannot_be_shared(session):
    with pytest.raises(CrossprobeError, match="runs in one process only"):
        session().run(SimpleNamespace(module=torch.nn.Linear(1, 1)))


def test_a_batch_that_cannot_be_dealt(session, tmp_path):
    with pytest.raises(CrossprobeError, match="batch_size 8 is not a multiple of 3 processes"):
        session(processes=3).run(fragile(tmp_path, "never"))


def test_an_assignment_elsewhere(tmp_path):
    with pytest.raises(CrossprobeError, match=re.escape("assignment.json cannot be seen from here")):
        Assignment.load(tmp_path)
