"""From a trained classifier to a version in the registry: package, log, reload, examine, decide."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.classification.arms import ClassifierArms, lineage, read_classifiers
from crossprobe.pipelines.register import classifier_nodes as nodes
from crossprobe.pipelines.register.nodes import reload_model


def create_classifier_pipeline(study: str) -> Pipeline:
    """Builds the pipeline of a study of classifiers.

    Args:
        study: Top-level key in the parameters that holds the study's table of arms; the namespace is
            `register.<study>`.

    Returns:
        The nodes; none if the table registers no arm. They open frames of the source alone.
    """
    arms = read_classifiers(study)
    if arms.registered is None:
        return Pipeline([])
    template = Pipeline([*_package(arms, study), *_examination()])
    own = {f"params:{block}": f"params:{study}.{block}" for block in ("registration", "training")}
    shared = {"params:frames": "params:source.frames", "params:runtime": "params:runtime"}
    return Pipeline(
        template,
        namespace=f"register.{study}",
        inputs={name for name in template.inputs() if "." in name and not name.startswith("params:")},
        parameters=own | shared,
    )


def _package(arms: ClassifierArms, study: str) -> list[Node]:
    assert arms.registered is not None
    joined = arms.ensembles.get(arms.registered)
    members = joined.members if joined else (arms.registered,)
    behind_it = {name for member in members for name in lineage(arms, member)}
    pooled = {site for name in behind_it for site in arms.arms[name].pools}
    sites = tuple(site for site in ("source", "second_source", "target") if site in pooled)
    facts = [f"{site}.{kind}" for site in sites for kind in ("facts", "split")]
    trained = [
        f"classify.{study}.{name}.{kind}" for name in members for kind in ("checkpoint", "calibration")
    ]
    return [
        Node(
            bound(
                nodes.package_classifier, arm=arms.registered, members=members, sites=sites, study=study
            ),
            inputs=["params:registration", "params:training", "params:frames", "params:runtime",
                    "source.labelled_frames", *facts, *trained],
            outputs="package",
            name="package",
        ),
        Node(
            bound(
                nodes.log_classifier,
                study=study,
                scored=f"{arms.registered}_average" if joined else arms.registered,
            ),
            inputs=["package", "params:registration", f"classify.{study}.report.arms"],
            outputs="logged",
            name="log_model",
        ),
    ]  # fmt: skip


def _examination() -> list[Node]:
    return [
        Node(
            reload_model,
            inputs=["source.frames", "source.split", "package", "logged", "params:registration",
                    "params:runtime"],
            outputs="reload",
            name="reload_model",
        ),
        Node(
            nodes.examine_classifier,
            inputs=["source.labelled_frames", "source.split", "package", "logged", "params:training",
                    "params:registration", "params:runtime"],
            outputs=["source_evidence", "latency"],
            name="examine_on_source",
        ),
        Node(
            nodes.decide_classifier,
            inputs=["package", "logged", "reload", "source_evidence", "latency", "params:registration"],
            outputs="decision",
            name="decide",
        ),
    ]  # fmt: skip
