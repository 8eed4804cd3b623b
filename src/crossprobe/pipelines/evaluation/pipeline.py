"""Scores of every fine-tuned arm on the test patients of both sites, stamped once an arm."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import read_arms, repeated
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.evaluation import nodes
from crossprobe.pipelines.stamping import stamped

SITES = ("source", "target")


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms to stamp from.

    Returns:
        Two nodes an arm and repeat; each opens one site.
    """
    arms = read_arms(study)
    return stamped(arms, arms.finetuning, lambda name, again: evaluation_arm(repeated(name, again)))


def evaluation_arm(name: str) -> Pipeline:
    """Stamps the template for one arm.

    Args:
        name: Name of a fine-tuning arm; the namespace is `evaluate.<name>`.

    Returns:
        Scores of the arm on both sites.
    """
    checkpoint = f"finetune.{name}.checkpoint"
    template = Pipeline(
        [
            Node(
                bound(nodes.score_arm, arm_name=name),
                inputs=[f"{site}.labelled_frames", f"{site}.split", checkpoint, "params:evaluation",
                        "params:runtime", "params:folders"],
                outputs=f"{site}_scores",
                name=f"score_{site}",
            )
            for site in SITES
        ]
    )  # fmt: skip
    inputs = {checkpoint, *(f"{site}.{name}" for site in SITES for name in ("labelled_frames", "split"))}
    return Pipeline(
        template,
        namespace=f"evaluate.{name}",
        inputs=inputs,
        parameters={
            "params:evaluation": "params:evaluation.scoring",
            "params:runtime": "params:runtime",
            "params:folders": "params:folders",
        },
    )
