"""A small packaged model, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossprobe.prediction.judged import Reader
from crossprobe.prediction.package import Package
from small_model import CPU, small_package


@pytest.fixture(scope="session")
def packaged(tmp_path_factory) -> Path:
    """A folder that holds a package; not to be written to."""
    return small_package().save(tmp_path_factory.mktemp("package") / "model")


@pytest.fixture(scope="session")
def reader(packaged) -> Reader:
    """The model of that folder, loaded."""
    return Reader(Package.load(packaged), CPU)
