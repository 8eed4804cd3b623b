"""What the target does first, on its own machine: pretrain without labels and publish encoders."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines import pretraining
from crossprobe.pipelines.arms import read_arms
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.data_processing.pipeline import site_pipeline
from crossprobe.pipelines.target_site import nodes


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms; both sites must have the same.

    Returns:
        The target's data, pretraining, and the hand-over. It opens no file of the source.
    """
    names = tuple(read_arms(study).pretraining)
    publish = Node(
        bound(nodes.publish_encoders, names=names),
        inputs=[
            "params:exchange",
            "target.split",
            "target.facts",
            *(f"pretrain.{name}.encoder" for name in names),
        ],
        outputs="exchange.encoders",
        name="publish_encoders",
    )
    return site_pipeline("target") + pretraining.create_pipeline(study) + Pipeline([publish])
