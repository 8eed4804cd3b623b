"""Twenty kills at random moments: what the next run leaves is what a run that nobody disturbed leaves."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
from tests.data.test_incremental import Clinic, files_of, fill


def outcome(clinic: Clinic) -> tuple:
    built, _, split = clinic.ingest()
    return built.path.name, files_of(built.path), clinic.rows(), split


def killed(clinic: Clinic, after_s: float) -> bool:
    process = multiprocessing.get_context("fork").Process(target=clinic.ingest)
    process.start()
    time.sleep(after_s)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_kills(wrist, tmp_path):
    generator = random.Random(7)
    first = Clinic(wrist, tmp_path / "first")
    fill(first, 10)
    first.ingest()
    # From here on the folder is as it will be in every round: more, edited, renamed, removed.
    for index in range(10, 16):
        wrist.video(f"{index}.avi", f"patient {index}", seed=index, count=30)
    wrist.video("3.avi", "patient 3", seed=99)
    del wrist.rows[-1]
    (wrist.folder / "videos" / "4.avi").rename(wrist.folder / "videos" / "four.avi")
    wrist.rows[4]["file"] = "four.avi"
    del wrist.rows[5]

    references = {}
    seconds = {}
    for kind in ("from nothing", "grown"):
        clinic = Clinic(wrist, tmp_path / f"reference {kind}")
        if kind == "grown":
            shutil.copytree(first.data, clinic.data)
        start = time.perf_counter()
        references[kind] = outcome(clinic)
        seconds[kind] = time.perf_counter() - start
    struck = 0
    for round_ in range(20):
        kind = ("from nothing", "grown")[round_ % 2]
        clinic = Clinic(wrist, tmp_path / f"round {round_}")
        if kind == "grown":
            shutil.copytree(first.data, clinic.data)
        struck += killed(clinic, generator.uniform(0, seconds[kind]))
        assert outcome(clinic) == references[kind], f"round {round_}, {kind}"
        shutil.rmtree(clinic.data)
    assert struck >= 10
