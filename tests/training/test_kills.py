"""Twenty times kill -9, at random moments and while saving: nothing is lost, to the last bit."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))

import killed_run

KILLS = 20


def wait_until(reached, worker, seconds: float = 300.0) -> bool:
    """Polls often; false if the worker ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if reached():
            return True
        if not worker.is_alive():
            return False
        time.sleep(0.0005)
    raise AssertionError("the worker hangs")


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path):
    # A server that has torch loaded forks the workers: each start takes milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crossprobe.training.loop"])
    chance = random.Random(7)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    drafts = 0
    for number in range(KILLS):
        # Without locks: a killed process would hold them for ever.
        steps, saving = context.Value("i", 0, lock=False), context.Value("i", 0, lock=False)
        worker = context.Process(target=killed_run.run, args=(str(cut), steps, saving))
        worker.start()
        if number % 2:
            reached = wait_until(lambda saving=saving: saving.value >= 2, worker)
        else:
            goal = chance.randrange(1, 12)
            reached = wait_until(lambda steps=steps, goal=goal: steps.value >= goal, worker)
            time.sleep(chance.uniform(0, 0.005))
        assert reached, f"the run ended before kill {number + 1}"
        worker.kill()
        worker.join()
        assert worker.exitcode == -9
        drafts += len(list(cut.glob(".*.tmp")))
    for folder in (cut, whole):
        counters = [context.Value("i", 0, lock=False) for _ in range(2)]
        worker = context.Process(target=killed_run.run, args=(str(folder), *counters))
        worker.start()
        worker.join(300)
        assert worker.exitcode == 0
    assert drafts > 0, "no kill fell into a save"
    assert list(cut.glob(".*.tmp")) == []
    expected, found = (load_file(folder / "progress.safetensors") for folder in (whole, cut))
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (whole / "history.csv").read_bytes() == (cut / "history.csv").read_bytes()
