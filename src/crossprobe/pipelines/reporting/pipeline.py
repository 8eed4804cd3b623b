"""Comparison of the arms, choice without labels, charts, and the report."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arms import Arms, read_arms, repeated
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.reporting import nodes
from crossprobe.pipelines.reporting.members import Members

SITES = ("source", "target")
SITE_RESULTS = ("facts", "cohort", "contact_sheet", "rejected_at_ingest", "rejected_at_decode")
TABLES = ("metrics", "arms", "comparisons", "breakdown", "empty_counts")
OWN_RESULTS = (*TABLES, "label_free", "regret", "histories", "speed", "reliability", "panels", "weights")
PARAMETERS = {
    "params:choice": "params:evaluation.choice",
    "params:scoring": "params:evaluation.scoring",
    "params:fused": "params:fusion.fused",
    "params:runtime": "params:runtime",
    "params:folders": "params:folders",
}


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Builds the pipeline of a study.

    Args:
        study: Table of arms it reports on; the namespace is `report.<study>`.

    Returns:
        Everything between the scores and the page.
    """
    arms = read_arms(study)
    # What is said of one training stands in the report of the study whose arms are repeated.
    single = [] if arms.repeats > 1 else [*_unlabelled_choice(arms), *_pictures(arms)]
    template = Pipeline([*_comparison(arms), *single, _page(arms)])
    parameters = {
        **PARAMETERS,
        "params:comparison": f"params:reports.{arms.of}.comparison",
        "params:page": f"params:reports.{arms.of}.page",
        "parameters": "parameters",
    }
    return Pipeline(
        template,
        namespace=f"report.{study}",
        inputs={name for name in template.inputs() if "." in name and not name.startswith("params:")},
        parameters={name: key for name, key in parameters.items() if name in template.inputs()},
    )


def _comparison(arms: Arms) -> list[Node]:
    scored = [
        (arm, repeat, site)
        for arm in (*arms.finetuning, *arms.fusion)
        for repeat in range(arms.repeats)
        for site in SITES
    ]
    scores = [f"evaluate.{repeated(arm, repeat)}.{site}_scores" for arm, repeat, site in scored]
    seeds = tuple((arm, repeat) for arm, repeat, _ in scored) if arms.repeats > 1 else None
    # Losses of different methods are different quantities: each gets a panel of its own.
    stages = {
        **{f"pretrain.{name}": f"pretraining, {arm.method}" for name, arm in arms.pretraining.items()},
        **{f"finetune.{name}": "fine-tuning" for name in arms.finetuning},
    }
    return [
        Node(
            bound(nodes.compare_arms, seeds=seeds),
            inputs=["params:comparison", *scores],
            outputs=list(TABLES),
            name="compare_arms",
        ),
        Node(
            bound(nodes.draw_charts, stages=stages),
            inputs=["arms", "metrics", "params:comparison", *(f"{stage}.history" for stage in stages)],
            outputs=["arms_chart", "differences_chart", "curves_chart", "histories"],
            name="draw_charts",
        ),
    ]


def _unlabelled_choice(arms: Arms) -> list[Node]:
    # Controls are no candidates: nobody would put a model trained on shuffled labels to use.
    usable = [
        name for name, arm in arms.finetuning.items() if arm.site == "source" and not arm.shuffled_labels
    ]
    candidates = Members(arms, tuple(usable))
    return [
        Node(
            bound(nodes.choose_without_labels, members=candidates),
            inputs=["target.frames", "target.split", "params:choice", "params:comparison", "params:fused",
                    "params:scoring", "params:runtime", "params:folders", *candidates.inputs()],
            outputs="label_free",
            name="choose_without_labels",
        ),
        Node(nodes.regret_of_choice, inputs=["label_free", "arms"], outputs="regret", name="regret"),
    ]  # fmt: skip


def _pictures(arms: Arms) -> list[Node]:
    everyone = Members(arms, tuple(arms.finetuning))
    return [
        Node(
            bound(nodes.draw_panels, members=everyone),
            inputs=["target.labelled_frames", "target.split", "params:page", "params:fused", "params:runtime",
                    *everyone.inputs()],
            outputs=["panels", "weights"] if arms.fusion else "panels",
            name="draw_panels",
        ),
        Node(
            bound(nodes.measure_calibration, members=everyone),
            inputs=["target.labelled_frames", "target.split", "params:fused", "params:scoring",
                    "params:runtime", "params:folders", *everyone.inputs()],
            outputs="reliability",
            name="measure_calibration",
        ),
        Node(
            bound(nodes.measure_speed, members=everyone),
            inputs=["target.frames", "params:page", "params:fused", "params:runtime", *everyone.inputs()],
            outputs="speed",
            name="measure_speed",
        ),
    ]  # fmt: skip


def _page(arms: Arms) -> Node:
    rebuilt = [
        f"pretrain.{name}.reconstructions" for name, arm in arms.pretraining.items() if arm.method == "mim"
    ]
    own = [name for name in OWN_RESULTS if arms.fusion or name != "weights"]
    if arms.repeats > 1:
        own, rebuilt = [*TABLES, "histories"], []
    results = [*own, *(f"{site}.{name}" for site in SITES for name in SITE_RESULTS), *rebuilt]
    return Node(
        bound(nodes.make_report, names=tuple(results), arms=arms),
        inputs=["params:page", "params:comparison", "parameters", *results],
        outputs="page",
        name="make_report",
    )
