"""One whole run of the main job in the `test` environment, shared by everything that looks at its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "a key that nobody may find again"


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Iterator[Path]:
    """Where the run writes, named to the configuration by an environment variable."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSPROBE_TEST_DATA", str(folder))
        patch.setenv("CROSSPROBE_SALT", SECRET)
        yield folder


@pytest.fixture(scope="session")
def kedro_run(data_folder, one_thread) -> Callable[..., dict[str, Any]]:
    """Runs a pipeline in this process, as `kedro run` does."""
    bootstrap_project(PROJECT)

    def run(pipeline: str = "cross_domain", env: str = "test", params: dict | None = None, **given: Any):
        while mlflow.active_run():
            mlflow.end_run()
        pipelines.configure("crossprobe.pipeline_registry")
        with KedroSession.create(PROJECT, env=env, runtime_params=params) as session:
            return session.run(pipeline_names=[pipeline], **given)

    return run


@pytest.fixture(scope="session")
def finished_run(kedro_run, data_folder) -> Path:
    """The folder of a finished run of the main job."""
    kedro_run()
    return data_folder


@pytest.fixture(scope="session")
def trainings(finished_run) -> Callable[[], dict[str, int]]:
    """Says which trainings the run's folder holds, and when each was last written to."""

    def when() -> dict[str, int]:
        folders = (finished_run / "06_models/progress").iterdir()
        return {folder.name: (folder / "progress.safetensors").stat().st_mtime_ns for folder in folders}

    return when


@pytest.fixture(scope="session")
def breast(kedro_run, data_folder) -> Path:
    """The folder of a finished run of the pipeline `breast`."""
    kedro_run("breast")
    return data_folder


@pytest.fixture
def catalog(finished_run):
    """The catalog of the finished run."""
    with KedroSession.create(PROJECT, env="test") as session:
        yield session.load_context().catalog
