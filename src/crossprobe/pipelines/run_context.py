"""What a node may want to know about the run it is part of and Kedro does not pass on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.hooks import hook_impl


@dataclass(frozen=True)
class RunContext:
    """The run at hand.

    Attributes:
        project: The project folder.
        environment: Name of the configuration environment, if one was given.
        parameters: Parameters given for this run alone.
        experiment_run: MLflow's id of the run, where it is recorded.
    """

    project: Path | None = None
    environment: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    experiment_run: str | None = None


_current = RunContext()


def run_context() -> RunContext:
    """Gives the context of the run in this process."""
    return _current


class RunContextHooks:
    """Remembers the context of a run while it lasts."""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Takes it down after the experiment hooks have opened their run.

        Args:
            run_params: Kedro's description of the run.
        """
        global _current
        active = mlflow.active_run()
        _current = RunContext(
            Path(run_params["project_path"]),
            run_params.get("env"),
            dict(run_params.get("runtime_params") or {}),
            active.info.run_id if active else None,
        )

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Forgets it."""
        self._forget()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Forgets it."""
        self._forget()

    def _forget(self) -> None:
        global _current
        _current = RunContext()
