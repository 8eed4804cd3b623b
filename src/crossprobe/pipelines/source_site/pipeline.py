"""What the source does, on its own machine: fine-tune the target's encoders and publish models."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import read_arms
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.data_processing.pipeline import site_pipeline
from crossprobe.pipelines.evaluation.pipeline import evaluation_arm
from crossprobe.pipelines.finetuning.pipeline import finetuning_arm
from crossprobe.pipelines.fusion.pipeline import fused_arm
from crossprobe.pipelines.source_site import nodes


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms; both sites must have the same.

    Returns:
        The source's data, the encoders' arrival, fine-tuning, scores on the source, and the hand-over. It
        opens no file of the target.
    """
    arms = read_arms(study)
    encoders = tuple(arms.pretraining)
    names = tuple(name for name, arm in arms.finetuning.items() if arm.site == "source")
    scored = [evaluation_arm(name) for name in names]
    scored += [fused_arm(name, arm) for name, arm in arms.fusion.items() if set(arm.branches) <= set(names)]
    on_source = [
        arm.only_nodes(*(node.name for node in arm.nodes if node.outputs[0].endswith(".source_scores")))
        for arm in scored
    ]
    tuned = [finetuning_arm(study, name, arms.finetuning[name]) for name in names]
    made = [f"finetune.{name}.{part}" for part in ("checkpoint", "calibration") for name in names]
    hand_over = Pipeline(
        [
            Node(
                bound(nodes.fetch_encoders, names=encoders),
                inputs=["params:exchange", "source.split"],
                outputs=["exchange.received_encoders", *(f"pretrain.{name}.encoder" for name in encoders)],
                name="fetch_encoders",
            ),
            Node(
                bound(nodes.publish_models, names=names),
                inputs=["params:exchange", "source.split", "source.facts", "exchange.received_encoders",
                *made,
                        *(output for arm in on_source for output in sorted(arm.all_outputs()))],
                outputs="exchange.models",
                name="publish_models",
            ),
        ]
    )  # fmt: skip
    return sum((*tuned, *on_source), site_pipeline("source") + hand_over)
