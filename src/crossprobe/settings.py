"""Kedro settings: where configuration lies, which resolvers it may use and which hooks listen."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

# mlflow, kedro and dagster all phone home by default; nothing here may leave the site unasked.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# Raised inside libraries at every start, about their own code or about a use that Kedro documents: a node of
# one namespace may read a data set of another.
for message in (".*dataset names contain '.' characters.*", ".*Add type hints to the `predict` method.*"):
    warnings.filterwarnings("ignore", message=message)

from kedro.config import OmegaConfigLoader
from kedro.utils import find_kedro_project

from crossprobe.hooks import ArmHooks, ExperimentHooks
from crossprobe.pipelines.run_context import RunContextHooks


def project_path(relative: str) -> str:
    """Anchors a path at the project, so that a run started in another folder finds the same files.

    Args:
        relative: Path below the project folder.

    Returns:
        The absolute path.
    """
    root = find_kedro_project(Path.cwd()) or Path(__file__).resolve().parents[2]
    return str(Path(root) / relative)


def times(factor: float, value: float) -> int:
    """Multiplies and rounds, never below 1: how `scale` stretches cohorts and step budgets.

    Args:
        factor: The scale.
        value: What is scaled.

    Returns:
        The product as a whole number.
    """
    return max(1, round(float(factor) * float(value)))


def pick(condition: Any, if_true: Any, if_false: Any) -> Any:
    """Chooses between two values, so that one parameter can turn the whole study around.

    Args:
        condition: A boolean, or the text of one as the command line gives it.
        if_true: Value if it holds.
        if_false: Value if it does not.

    Returns:
        One of the two.
    """
    return if_true if str(condition).lower() in ("true", "1", "yes") else if_false


def environment(name: str, default: str) -> str:
    """Reads an environment variable, for what must not be written into a file.

    Args:
        name: Name of the variable.
        default: Value where it is unset.

    Returns:
        The value.
    """
    return os.environ.get(name, default)


def artifact_folder(relative: str) -> str | None:
    """Says where artifacts of a new experiment go.

    Args:
        relative: Path below the project folder.

    Returns:
        That path while runs are recorded in a file of this machine. None where MLFLOW_TRACKING_URI names a
        server: it must keep them itself, for a path of this machine means nothing to the others.
    """
    elsewhere = os.environ.get("MLFLOW_TRACKING_URI", "").startswith(("http:", "https:"))
    return None if elsewhere else project_path(relative)


CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*"]},
    # An environment names only what it changes.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
    "custom_resolvers": {
        "project_path": project_path,
        "times": times,
        "pick": pick,
        "environment": environment,
        "artifact_folder": artifact_folder,
    },
}

# ExperimentHooks extends kedro-mlflow's own hook; two of them would log everything twice.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)
HOOKS = (ArmHooks(), ExperimentHooks(), RunContextHooks())
