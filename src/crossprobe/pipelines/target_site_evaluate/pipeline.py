"""What the target does last, on its own machine: score the models that came from the source."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import read_arms
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.evaluation.pipeline import evaluation_arm
from crossprobe.pipelines.finetuning.pipeline import finetuning_arm
from crossprobe.pipelines.fusion.pipeline import fused_arm
from crossprobe.pipelines.target_site_evaluate import nodes


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline; it needs what `target_site` left in the catalog.

    Args:
        study: Table of arms; both sites must have the same.

    Returns:
        The models' arrival, the target-supervised reference, scores on the target, and their hand-over. It
        opens no file of the source.
    """
    arms = read_arms(study)
    names = tuple(name for name, arm in arms.finetuning.items() if arm.site == "source")
    own = [finetuning_arm(study, name, arm) for name, arm in arms.finetuning.items() if name not in names]
    scored = [evaluation_arm(name) for name in arms.finetuning]
    scored += [fused_arm(name, arm) for name, arm in arms.fusion.items()]
    on_target = [
        arm.only_nodes(*(node.name for node in arm.nodes if node.outputs[0].endswith(".target_scores")))
        for arm in scored
    ]
    fetched = [f"finetune.{name}.{part}" for part in ("checkpoint", "calibration") for name in names]
    hand_over = Pipeline(
        [
            Node(
                bound(nodes.fetch_models, names=names),
                inputs=["params:exchange", "target.split"],
                outputs=["exchange.received_models", *fetched],
                name="fetch_models",
            ),
            Node(
                nodes.summarise,
                inputs=["params:exchange", "exchange.received_models", "target.split",
                        *(output for arm in on_target for output in sorted(arm.all_outputs()))],
                outputs=["exchange.results", "exchange.scores"],
                name="summarise",
            ),
        ]
    )  # fmt: skip
    return sum((*own, *on_target), hand_over)
