"""From a trained arm to a version in the registry: package, log, reload, examine, decide."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import Arms, read_arms
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.register import nodes

PARAMETERS = {
    "params:registration": "params:registration",
    "params:fused": "params:fusion.fused",
    "params:scoring": "params:evaluation.scoring",
    "params:frames": "params:source.frames",
    "params:runtime": "params:runtime",
    "params:folders": "params:folders",
}


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline of a study.

    Args:
        study: Table of arms; the namespace is `register.<study>`.

    Returns:
        The nodes; none if the table registers no arm. A node that opens frames opens those of one site.
    """
    arms = read_arms(study)
    if arms.registered is None:
        return Pipeline([])
    template = Pipeline([*_package(arms, study), *_examination()])
    return Pipeline(
        template,
        namespace=f"register.{study}",
        inputs={name for name in template.inputs() if "." in name and not name.startswith("params:")},
        parameters=PARAMETERS,
    )


def _package(arms: Arms, study: str) -> list[Node]:
    assert arms.registered is not None
    fused = arms.fusion.get(arms.registered)
    branches = fused.branches if fused else (arms.registered,)
    trained = [f"finetune.{name}.{part}" for name in branches for part in ("checkpoint", "calibration")]
    made_of = {"arm": arms.registered, "branches": branches}
    return [
        Node(
            bound(nodes.calibrate_reading, **made_of),
            inputs=["source.labelled_frames", "source.split", "params:registration", "params:fused",
                    "params:scoring", "params:runtime", "params:folders", *trained],
            outputs="reading",
            name="calibrate_reading",
        ),
        Node(
            bound(nodes.package, study=study, **made_of),
            inputs=["params:registration", "params:fused", "params:scoring", "params:frames", "reading",
                    "source.facts", "target.facts", "source.split", "target.split", *trained],
            outputs="package",
            name="package",
        ),
        Node(
            bound(nodes.log_model, study=study),
            inputs=["package", "params:registration", f"report.{study}.arms"],
            outputs="logged",
            name="log_model",
        ),
    ]  # fmt: skip


def _examination() -> list[Node]:
    return [
        Node(
            nodes.reload_model,
            inputs=["source.labelled_frames", "source.split", "package", "logged", "params:registration",
                    "params:runtime"],
            outputs="reload",
            name="reload_model",
        ),
        Node(
            nodes.examine_on_source,
            inputs=["source.labelled_frames", "source.split", "package", "logged", "params:registration",
                    "params:runtime", "params:folders"],
            outputs=["source_evidence", "latency"],
            name="examine_on_source",
        ),
        Node(
            nodes.examine_on_target,
            inputs=["target.frames", "target.split", "package", "logged", "params:registration",
                    "params:runtime", "params:folders"],
            outputs="target_evidence",
            name="examine_on_target",
        ),
        Node(
            nodes.decide,
            inputs=["package", "logged", "reload", "source_evidence", "target_evidence", "latency",
                    "params:registration"],
            outputs="decision",
            name="decide",
        ),
    ]  # fmt: skip
