"""Self-supervised pretraining on the unlabelled target, stamped once an arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import PretrainingArm, read_arms, repeated
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.pretraining import nodes
from crossprobe.pipelines.stamping import stamped


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms to stamp from.

    Returns:
        One node an arm of the table, and one more each time it is repeated.
    """
    arms = read_arms(study)
    table = arms.pretraining
    return stamped(arms, table, lambda name, again: pretraining_arm(arms.of, name, table[name], again))


def pretraining_arm(study: str, name: str, arm: PretrainingArm, repeat: int = 0) -> Pipeline:
    """Stamps the template for one arm.

    Args:
        study: Table the arm stands in.
        name: Name of the arm; the namespace is `pretrain.<name>`, or `pretrain.<name>_seed_<repeat>`.
        arm: The method.
        repeat: How many seeds after its own.

    Returns:
        The arm's pipeline. It reads frames of the target from an entry that carries no labels.
    """
    train: Callable[..., Any] = nodes.pretrain_mim if arm.method == "mim" else nodes.pretrain_contrastive
    outputs = ["encoder", "history", *(["reconstructions"] if arm.method == "mim" else [])]
    inputs = ["target.frames", "target.split", "params:arm", "params:stage", "params:model",
              "params:folders", "params:runtime"]  # fmt: skip
    trained = repeated(name, repeat)
    node = Node(bound(train, arm_name=trained, repeat=repeat), inputs=inputs, outputs=outputs, name="train")
    return Pipeline(
        Pipeline([node]),
        namespace=f"pretrain.{trained}",
        inputs={"target.frames", "target.split"},
        parameters={
            "params:arm": f"params:studies.{study}.pretraining.{name}",
            "params:stage": f"params:pretraining.{arm.method}",
            "params:model": "params:model",
            "params:folders": "params:folders",
            "params:runtime": "params:runtime",
        },
    )
