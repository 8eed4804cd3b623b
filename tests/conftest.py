"""Fixtures every test can use: where the golden numbers and the real scans lie, if they do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Workers share the cores; threads of each would only wait for those of the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

PROJECT = Path(__file__).resolve().parents[1]


def _outside(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable, PROJECT.parent / "shared" / default))


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """Opens a file of reference numbers (npz as arrays, anything else as a path), or skips the test."""

    def open_golden(name: str):
        path = _outside("CROSSPROBE_GOLDEN", "golden") / name
        if not path.exists():
            pytest.skip(f"reference numbers {name} not found; set CROSSPROBE_GOLDEN to their folder")
        return np.load(path, allow_pickle=False) if path.suffix == ".npz" else path

    return open_golden


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Gives the folder of a real data set, or skips the test."""

    def find(name: str) -> Path:
        path = _outside("CROSSPROBE_DATA", "data") / name
        if not path.exists():
            pytest.skip(f"real data {name} not found; set CROSSPROBE_DATA to the folder that holds it")
        return path

    return find


# The files of a row look at one finished run, which each worker would make for itself.
SHARED_RUNS = (
    ("ablations", "bad_data", "cross_domain", "notebooks", "register", "seeds"),
    ("classification", "register_classifier"),
)
RUN_OF = {f"tests/runs/test_{name}.py": f"run {names[0]}" for names in SHARED_RUNS for name in names}


class _SharedRunTogether(LoadFileScheduling):
    """A file goes to a worker whole, and the files that share a run go to the same."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return RUN_OF.get(file, file)


def pytest_collection_modifyitems(items):
    """Puts long files first, so that no worker begins one when the others have nothing left."""
    long = {item.path for item in items if item.path.parent.name == "runs" or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One more than there are cores, for tests that wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Deals tests to the workers of `pytest -n`, in the order in which they were collected."""
    config.option.loadscopereorder = False
    return _SharedRunTogether(config, log)
