"""Supervised fine-tuning on the labels of one site, stamped once an arm."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import FinetuningArm, read_arms, repeated
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.finetuning import nodes
from crossprobe.pipelines.stamping import stamped


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms to stamp from.

    Returns:
        Training and calibration of every arm of the table, as often as the study repeats it.
    """
    arms = read_arms(study)
    table = arms.finetuning
    return stamped(arms, table, lambda name, again: finetuning_arm(arms.of, name, table[name], again))


def finetuning_arm(study: str, name: str, arm: FinetuningArm, repeat: int = 0) -> Pipeline:
    """Stamps the template for one arm.

    Args:
        study: Table the arm stands in.
        name: Name of the arm; the namespace is `finetune.<name>`, or `finetune.<name>_seed_<repeat>`.
        arm: Where its encoder starts and whose labels it learns from.
        repeat: How many seeds after its own; the encoder is the one of the same repeat.

    Returns:
        The arm's pipeline. It opens frames of one site only; from the other it may get weights.
    """
    frames, split = f"{arm.site}.labelled_frames", f"{arm.site}.split"
    pretrained = arm.start not in ("random", "imagenet")
    encoder = [f"pretrain.{repeated(arm.start, repeat)}.encoder"] if pretrained else []
    train = nodes.finetune_from_encoder if pretrained else nodes.finetune_from_start
    trained = repeated(name, repeat)
    template = Pipeline(
        [
            Node(
                bound(train, arm_name=trained, repeat=repeat),
                inputs=[frames, split, *encoder, "params:arm", "params:stage", "params:model",
                        "params:folders", "params:runtime"],
                outputs=["checkpoint", "history"],
                name="train",
            ),
            Node(
                nodes.calibrate,
                inputs=["checkpoint", frames, split, "params:arm", "params:temperature", "params:runtime"],
                outputs="calibration",
                name="calibrate",
            ),
        ]
    )  # fmt: skip
    return Pipeline(
        template,
        namespace=f"finetune.{trained}",
        inputs={frames, split, *encoder},
        parameters={
            "params:arm": f"params:studies.{study}.finetuning.{name}",
            "params:stage": "params:finetuning",
            "params:temperature": "params:fusion.temperature",
            "params:model": "params:model",
            "params:folders": "params:folders",
            "params:runtime": "params:runtime",
        },
    )
