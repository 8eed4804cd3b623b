"""What happens around every run: the experiment is recorded in MLflow, and the result is shown at the end.

One parent run holds the whole job; each stage and arm is a nested run with its parameters (flat), its
curves, metrics, figures and the hashes of the data it saw. What an output means to the record is said
where the output is declared: `metadata: {track: …}` in the catalog.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.hooks import hook_impl
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.entities import Param
from pydantic import BaseModel

from crossprobe.tracking.withheld import recorded, tracking_is_local

log = logging.getLogger(__name__)

# Under these names Kedro keeps the parameters that were given for one run.
RUNTIME = ("runtime_params", "extra_params")
PARAMETER_LENGTH = 500
PARAMETERS_A_REQUEST = 100


class ArmHooks:
    """Stops a run at its start where arms are written that would be ignored."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Compares the arms of the run with those that pipelines were made from."""
        from crossprobe.pipelines import arms
        from crossprobe.pipelines.classification import arms as classifiers

        parameters = context.config_loader["parameters"]
        arms.refuse_other_arms(parameters)
        classifiers.refuse_other_arms(parameters)


class ExperimentHooks(MlflowHook):
    """kedro-mlflow's hook, with nested runs and typed parameters logged key by key."""

    def __init__(self) -> None:
        super().__init__()
        self._stages: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._logged: set[tuple[str, str]] = set()
        self._parameters: dict[str, Any] = {}

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Prepares MLflow and remembers the parameters as the user wrote them."""
        (Path(context.project_path) / "data/09_tracking").mkdir(parents=True, exist_ok=True)
        super().after_context_created(context)
        self._parameters = context.config_loader["parameters"]

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Opens the parent run and keeps the whole configuration with it, less what must not be recorded."""
        super().before_pipeline_run(self._recorded(run_params), pipeline, catalog)
        self._stages.clear()
        self._started.clear()
        self._logged.clear()
        if self._is_mlflow_enabled:
            text = yaml.safe_dump(self._recorded(self._parameters), sort_keys=False, allow_unicode=True)
            self._client().log_text(self.run_id, text, "parameters.yml")

    @hook_impl
    def before_node_run(self, node: Any, catalog: Any, inputs: dict[str, Any], is_async: bool) -> None:
        """Opens the nested run of the node's stage and logs the node's parameters."""
        self._started[node.name] = time.perf_counter()
        if not self._is_mlflow_enabled:
            return
        from crossprobe.tracking import stage

        run_id = self._stage_run(node)
        stage.enter(stage.StageRun(self._uri(), self.run_id, run_id))
        given = {
            name.removeprefix("params:"): value
            for name, value in inputs.items()
            if name.startswith("params:")
        }
        # A repeat of an arm has its parameters, and a seed so much further on.
        if repeat := getattr(node.func, "fixed", {}).get("repeat"):
            given["repeat"] = repeat
        self._log_parameters(
            run_id, {key: leaf for name, value in given.items() for key, leaf in flatten(value, name).items()}
        )

    @hook_impl
    def after_node_run(self, node: Any, catalog: Any, inputs: Any, outputs: dict[str, Any]) -> None:
        """Records what the node made, as the catalog says it should be recorded."""
        seconds = time.perf_counter() - self._started.pop(node.name)
        if not self._is_mlflow_enabled:
            return
        from crossprobe.tracking.outputs import record

        run_id = self._stage_run(node)
        self._client().log_metric(run_id, f"seconds/{node.short_name}", seconds)
        for name, value in outputs.items():
            described = getattr(catalog.get(name), "metadata", None) or {}
            if "track" not in described:
                continue
            if described.get("pixels") and not self._tracking_is_local():
                log.info("%s shows frames and stays here: the tracking server is elsewhere", name)
                continue
            # On a server elsewhere rows may be people: only what the catalog calls an aggregate goes there.
            whole = self._tracking_is_local() or bool(described.get("aggregate"))
            record(self._client(), self.run_id, run_id, described["track"], name, value, whole=whole)

    @hook_impl
    def on_node_error(self, error: Exception, node: Any) -> None:
        """Closes the nested run of a node that failed."""
        if self._is_mlflow_enabled and (stage := stage_of(node)) in self._stages:
            self._client().set_terminated(self._stages.pop(stage), status="FAILED")

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Closes all runs and shows the table of arms and where the report lies."""
        self._close("FINISHED")
        super().after_pipeline_run(run_params, pipeline, catalog)
        _show_results(pipeline, catalog)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Any, catalog: Any
    ) -> None:
        """Closes all runs as failed."""
        self._close("FAILED")
        super().on_pipeline_error(error, run_params, pipeline, catalog)

    def _client(self) -> Any:
        # No property: older plugin managers read every attribute of a plugin before it has a configuration.
        return self.mlflow_config.server._mlflow_client

    def _log_parameters(self, run_id: str, leaves: dict[str, Any]) -> None:
        """Logs what the run does not have yet; together, for a server takes its time for every request."""
        new = [key for key in leaves if (run_id, key) not in self._logged]
        self._logged |= {(run_id, key) for key in new}
        kept = {key: recorded(leaves[key], not self._tracking_is_local(), key) for key in new}
        given = [Param(key, str(value)[:PARAMETER_LENGTH]) for key, value in kept.items()]
        for start in range(0, len(given), PARAMETERS_A_REQUEST):
            self._client().log_batch(run_id, params=given[start : start + PARAMETERS_A_REQUEST])

    def _uri(self) -> str:
        return str(self.mlflow_config.server.mlflow_tracking_uri)

    def _tracking_is_local(self) -> bool:
        return tracking_is_local(self._uri())

    def _recorded(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: recorded(value, not self._tracking_is_local(), "" if key in RUNTIME else key)
            for key, value in parameters.items()
        }

    def _stage_run(self, node: Any) -> str:
        stage = stage_of(node)
        if stage not in self._stages:
            experiment = self.mlflow_config.tracking.experiment._experiment.experiment_id
            # The client, not the fluent API: Kedro runs nodes in a thread of their own, and the fluent
            # API's stack of active runs is one a thread.
            run = self._client().create_run(
                experiment, run_name=stage, tags={"mlflow.parentRunId": self.run_id}
            )
            self._stages[stage] = run.info.run_id
        return self._stages[stage]

    def _close(self, status: str) -> None:
        if self._is_mlflow_enabled:
            for run_id in self._stages.values():
                self._client().set_terminated(run_id, status=status)


def stage_of(node: Any) -> str:
    """Names the stage and arm a node belongs to: its namespace, or its own name outside of any."""
    return node.namespace or node.short_name


def flatten(value: Any, prefix: str) -> dict[str, Any]:
    """Turns nested parameters into one entry a leaf.

    Args:
        value: A Pydantic model, a mapping, a sequence or a plain value.
        prefix: Name of the value.

    Returns:
        Plain values by dotted name.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        leaves: dict[str, Any] = {}
        for key, inner in value.items():
            leaves |= flatten(inner, f"{prefix}.{key}")
        return leaves
    return {prefix: value}


def _show_results(pipeline: Any, catalog: Any) -> None:
    """Prints every result that the catalog marks: `metadata: {show: <path of its page>}`, or `show: true`."""
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        shown = (getattr(dataset, "metadata", None) or {}).get("show")
        if shown is None:
            continue
        from crossprobe.reporting.terminal import print_result

        print_result(catalog.load(name), Path(shown) if isinstance(shown, str) else None)
