"""Fused arms: calibrated branches answer together and are scored on both sites."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import FusedArm, read_arms, repeated
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.evaluation.pipeline import SITES
from crossprobe.pipelines.fusion import nodes
from crossprobe.pipelines.stamping import stamped


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline.

    Args:
        study: Table of arms to stamp from.

    Returns:
        Two nodes a fused arm and repeat; each opens one site.
    """
    arms = read_arms(study)
    return stamped(arms, arms.fusion, lambda name, again: fused_arm(name, arms.fusion[name], again))


def fused_arm(name: str, arm: FusedArm, repeat: int = 0) -> Pipeline:
    """Stamps the template for one fused arm.

    Args:
        name: Name of the arm; the namespace is `evaluate.<name>`, or `evaluate.<name>_seed_<repeat>`.
        arm: Its branches.
        repeat: Of every branch.

    Returns:
        Scores of every way of fusing the branches, on both sites.
    """
    fused = repeated(name, repeat)
    branches = [
        f"finetune.{repeated(branch, repeat)}.{part}"
        for branch in arm.branches
        for part in ("checkpoint", "calibration")
    ]
    template = Pipeline(
        [
            Node(
                bound(nodes.score_fused, arm_name=fused),
                inputs=[f"{site}.labelled_frames", f"{site}.split", "params:evaluation", "params:fusion",
                        "params:runtime", "params:folders", *branches],
                outputs=f"{site}_scores",
                name=f"fuse_{site}",
            )
            for site in SITES
        ]
    )  # fmt: skip
    inputs = {*branches, *(f"{site}.{part}" for site in SITES for part in ("labelled_frames", "split"))}
    return Pipeline(
        template,
        namespace=f"evaluate.{fused}",
        inputs=inputs,
        parameters={
            "params:evaluation": "params:evaluation.scoring",
            "params:fusion": "params:fusion.fused",
            "params:runtime": "params:runtime",
            "params:folders": "params:folders",
        },
    )
