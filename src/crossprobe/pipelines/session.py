"""Runs a pipeline in a Kedro session of its own: in this process, or in a fresh one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from crossprobe.errors import CrossprobeError


def run_pipeline(
    project: Path,
    pipeline: str,
    environment: str | None = None,
    parameters: dict[str, Any] | None = None,
    **selection: Any,
) -> None:
    """Runs a pipeline in this process, as `kedro run` does.

    Args:
        project: The project folder.
        pipeline: Name of the pipeline.
        environment: Configuration environment; None takes the default.
        parameters: Parameters for this run alone.
        selection: Which part of the pipeline, such as `to_outputs`.
    """
    import mlflow
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(project)
    # Kedro finds its project, and with it the data, from the current folder.
    os.chdir(project)
    while mlflow.active_run():
        mlflow.end_run()
    pipelines.configure("crossprobe.pipeline_registry")
    with KedroSession.create(project, env=environment, runtime_params=parameters) as session:
        assert isinstance(session, KedroSession)
        session.run(pipeline_names=[pipeline], **selection)


def load(project: Path, environment: str | None, name: str) -> Any:
    """Loads an entry of the catalog.

    Args:
        project: The project folder.
        environment: Configuration environment.
        name: Of the entry.

    Returns:
        Its value.
    """
    with _context(project, environment) as context:
        return context.catalog.load(name)


def load_settings(project: Path, environment: str | None, wanted: Mapping[str, type[BaseModel]]) -> list[Any]:
    """Reads parameters and checks them against their models.

    By hand, since Kedro types a parameter only where a pipeline that it has loaded asks for it.

    Args:
        project: The project folder.
        environment: Configuration environment.
        wanted: Model by dotted name of the parameter.

    Returns:
        The settings, in the order asked for.
    """
    with _context(project, environment) as context:
        parameters = context.config_loader["parameters"]
    found = []
    for name, model in wanted.items():
        value = parameters
        for key in name.split("."):
            value = value[key]
        found.append(model.model_validate(value))
    return found


@contextmanager
def _context(project: Path, environment: str | None) -> Iterator[Any]:
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(project)
    os.chdir(project)
    with KedroSession.create(project, env=environment) as session:
        assert isinstance(session, KedroSession)
        yield session.load_context()


def run_in_new_process(
    project: Path, pipeline: str, environment: str | None = None, parameters: dict[str, Any] | None = None
) -> None:
    """Runs a pipeline in a process of its own, so that nothing of this session's state is in the way.

    Args:
        project: The project folder.
        pipeline: Name of the pipeline.
        environment: Configuration environment; None takes the default.
        parameters: Parameters for this run alone, plain data.

    Raises:
        CrossprobeError: The run failed; what it said stands above.
    """
    request = {
        "project": str(project),
        "pipeline": pipeline,
        "environment": environment,
        "parameters": parameters,
    }
    # The child must not take the parent's MLflow run for its own.
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"}
    command = [sys.executable, "-m", "crossprobe.pipelines.session", json.dumps(request)]
    code = subprocess.run(command, cwd=project, env=variables, check=False).returncode
    if code:
        raise CrossprobeError(f"pipeline {pipeline} ended with code {code}; its log above says why")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    run_pipeline(Path(given["project"]), given["pipeline"], given["environment"], given["parameters"])
