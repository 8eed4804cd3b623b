"""Where the project lies and what its configuration says, for commands that run no pipeline."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from crossprobe.errors import CrossprobeError

ENVIRONMENT = click.option(
    "--env", metavar="NAME", envvar="KEDRO_ENV", help="Environment of conf/; without it, the base."
)


def model_option(default: str | None = None) -> Callable[[Any], Any]:
    """Makes the option that names a registered model.

    Args:
        default: Name where it is not given; that of the parameters where None.
    """
    return click.option(
        "--name", metavar="MODEL", default=default, help="Registered model; else the project's."
    )


def project_folder() -> Path:
    """Finds the project from any folder inside it.

    Raises:
        CrossprobeError: Not inside a project.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        configuration = folder / "pyproject.toml"
        if configuration.is_file() and "[tool.kedro]" in configuration.read_text(encoding="utf-8"):
            return folder
    raise CrossprobeError(
        f"{Path.cwd()} is in no crossprobe project; change to the folder with pyproject.toml and conf/"
    )


def configuration(env: str | None) -> Any:
    """Reads conf/ as a run would.

    Args:
        env: Environment; the base where None.

    Returns:
        Kedro's configuration loader.
    """
    folder = project_folder()
    # A person waits for the answer: not for the minutes that MLflow gives a server that is not there.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    # The resolver of project paths starts at the working folder.
    os.chdir(folder)
    # Libraries warn about their own code while they are imported, past every filter that we set.
    with warnings.catch_warnings(record=True):
        from crossprobe import settings

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    arguments: dict[str, Any] = dict(settings.CONFIG_LOADER_ARGS)
    return settings.CONFIG_LOADER_CLASS(str(folder / "conf"), env=env, **arguments)


def tracking_uri(loader: Any) -> str:
    """Where runs and models are kept, by mlflow.yml; that of the base asks MLFLOW_TRACKING_URI first.

    Args:
        loader: From `configuration`.
    """
    uri = str(loader["mlflow"]["server"]["mlflow_tracking_uri"])
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return uri


def registered_name(loader: Any, name: str | None) -> str:
    """Name of the registered model: the one given, or that of the parameters.

    Args:
        loader: From `configuration`.
        name: As given on the command line.
    """
    return name or str(loader["parameters"]["registration"]["name"])


def table_width() -> int | None:
    """Characters a table may take: those of the terminal; plenty where the output goes into a file."""
    return None if sys.stdout.isatty() else 160
