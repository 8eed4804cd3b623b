"""Classifiers of one study, from training to the report, stamped from a table of arms."""

from __future__ import annotations

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.classification import nodes, training
from crossprobe.pipelines.classification.arms import ClassifierArm, ClassifierArms, read_classifiers

SITE_RESULTS = ("facts", "cohort", "contact_sheet", "rejected_at_ingest", "rejected_at_decode")
TABLES = ("metrics", "scores", "arms", "comparisons", "confusion", "referral")


def create_pipeline(study: str = "breast") -> Pipeline:
    """Builds the pipeline of a study.

    Args:
        study: Top-level key in the parameters that holds the study's table of arms.

    Returns:
        Everything between the sites' frame stores and the page. Its namespaces are `classify.<study>.<arm>`
        and `classify.<study>.report`.
    """
    arms = read_classifiers(study)
    stages = [_arm(study, name, arms) for name in arms.arms]
    return sum([*stages, _image_split(study, arms), _report(study, arms)], Pipeline([]))


def sites_of(study: str) -> tuple[str, ...]:
    """Names the sites whose data a study needs."""
    arms = read_classifiers(study)
    used = {site for arm in arms.arms.values() for site in arm.pools} | set(arms.sites)
    return tuple(site for site in ("source", "second_source", "target") if site in used)


def training_inputs(study: str, arm: ClassifierArm) -> list[str]:
    """Names the data of an arm's training node: labelled sites, the unlabelled target, the arm gone on from.

    Only the arms that adapt open pixels of two sites with one of them unlabelled, and only those that pool
    labelled sources open several labelled ones: a documented exception from the rule that sites stay apart.
    """
    names = [
        name for site in arm.labels_of for name in (f"{site}.labelled_frames", _split_of(study, arm, site))
    ]
    names += ["target.frames", "target.split"] if arm.adapt == "dann" else []
    return names + ([f"classify.{study}.{arm.start}.checkpoint"] if arm.start else [])


def _split_of(study: str, arm: ClassifierArm, site: str) -> str:
    return f"classify.{study}.deal.image_split" if arm.split == "image" else f"{site}.split"


def _arm(study: str, name: str, arms: ClassifierArms) -> Pipeline:
    arm, own = arms.arms[name], f"classify.{study}.{name}"
    inputs = training_inputs(study, arm)
    home = arm.labels_of[0]
    sites = tuple(site for site in arms.sites if arm.split == "patient" or site == "source")
    train = Node(
        bound(training.train_classifier, title=own),
        inputs=["params:training", "params:arm", "params:folders", "params:runtime", *inputs],
        outputs=["checkpoint", "history"],
        name="train",
    )
    # With a few labels only, none is left to fit a temperature on: that of the arm gone on from serves.
    inherited = arm.labels_per_class is not None and arm.start is not None
    calibration = f"classify.{study}.{arm.start}.calibration" if inherited else "calibration"
    calibrate = Node(
        training.calibrate_classifier,
        inputs=["checkpoint", f"{home}.labelled_frames", _split_of(study, arm, home), "params:training",
                "params:arm", "params:runtime"],
        outputs="calibration",
        name="calibrate",
    )  # fmt: skip
    predict = [
        Node(
            bound(nodes.predict_arm, arm_name=name),
            inputs=["checkpoint", calibration, f"{site}.labelled_frames", _split_of(study, arm, site),
                    "params:training", "params:scoring", "params:runtime"],
            outputs=f"{site}_predictions",
            name=f"predict_{site}",
        )
        for site in sites
    ]  # fmt: skip
    template = Pipeline([train, *([] if inherited else [calibrate]), *predict])
    return _stamped(template, study, own, name)


def _stamped(template: Pipeline, study: str, namespace: str, arm: str | None = None) -> Pipeline:
    """Gives a template its namespace; data sets with a dot are others', parameters are the study's."""
    own = {f"params:{block}": f"params:{study}.{block}" for block in ("training", "scoring", "page")}
    own |= {name: name for name in ("params:folders", "params:runtime", "parameters")}
    own |= {"params:arm": f"params:{study}.arms.{arm}"} if arm else {}
    free = template.inputs()
    return Pipeline(
        template,
        namespace=namespace,
        inputs={name for name in free if "." in name and not name.startswith("params:")},
        parameters={name: full for name, full in own.items() if name in free},
    )


def _image_split(study: str, arms: ClassifierArms) -> Pipeline:
    """The control's split, made only where an arm asks for it."""
    if all(arm.split == "patient" for arm in arms.arms.values()):
        return Pipeline([])
    node = Node(
        nodes.split_by_image,
        inputs=["source.manifest", "params:source.split", "params:source.site"],
        outputs="image_split",
        name="split_by_image",
    )
    return Pipeline(
        [node],
        namespace=f"classify.{study}.deal",
        inputs={"source.manifest"},
        parameters={"params:source.split": "params:source.split", "params:source.site": "params:source.site"},
    )


def _report(study: str, arms: ClassifierArms) -> Pipeline:
    names = tuple(arms.arms)
    adapted = tuple(name for name, arm in arms.arms.items() if arm.adapt == "dann")

    def of(arm: str, *parts: str) -> list[str]:
        return [f"classify.{study}.{arm}.{part}" for part in parts]

    predictions = [
        f"classify.{study}.{name}.{site}_predictions"
        for name, arm in arms.arms.items()
        for site in arms.sites
        if arm.split == "patient" or site == "source"
    ]
    last = arms.sites[-1]
    results = [*TABLES, "costs", "cams", "histories", *(["adaptation", "findings"] if adapted else [])]
    results += [f"{site}.{kind}" for site in sites_of(study) for kind in SITE_RESULTS]
    grouped = tuple(name for name, arm in arms.arms.items() if arm.split == "patient")
    template = Pipeline(
        [
            Node(
                bound(nodes.compare_classifiers, arms=arms, study=study),
                inputs=["params:page", *predictions],
                outputs=list(TABLES),
                name="compare",
            ),
            Node(
                bound(nodes.measure_costs, names=names),
                inputs=["source.frames", "params:scoring", "params:runtime",
                        *(given for name in names for given in of(name, "checkpoint", "history"))],
                outputs="costs",
                name="measure_costs",
            ),
            Node(
                bound(nodes.draw_cams, names=grouped),
                inputs=[f"{last}.labelled_frames", f"{last}.split", "params:training", "params:page",
                        "params:runtime", *(given for name in grouped for given in of(name, "checkpoint"))],
                outputs="cams",
                name="draw_cams",
            ),
            Node(
                bound(nodes.draw_charts, names=names),
                inputs=[given for name in names for given in of(name, "history")],
                outputs=["curves_chart", "histories"],
                name="draw_charts",
            ),
            *([_watch(adapted, of), _findings()] if adapted else []),
            Node(
                bound(nodes.make_report, names=tuple(results), study=study),
                inputs=["params:training", "params:page", "parameters", *results],
                outputs="page",
                name="make_report",
            ),
        ]
    )  # fmt: skip
    return _stamped(template, study, f"classify.{study}.report")


def _watch(adapted: tuple[str, ...], of: Callable[..., list[str]]) -> Node:
    return Node(
        bound(nodes.watch_adaptation, names=adapted),
        inputs=[
            "params:training",
            *(given for name in adapted for given in of(name, "checkpoint", "history")),
        ],
        outputs="adaptation",
        name="watch_adaptation",
    )


def _findings() -> Node:
    return Node(
        nodes.state_findings,
        inputs=["params:page", "parameters", "adaptation", "arms"],
        outputs="findings",
        name="state_findings",
    )
