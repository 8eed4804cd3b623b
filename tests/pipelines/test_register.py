"""What decides about a model, read off the graph, and what a study may register."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crossprobe.errors import CoverageError, InvalidMetadata
from crossprobe.pipelines import arms, register
from crossprobe.pipelines.classification import arms as classifier_arms
from crossprobe.pipelines.register import nodes
from crossprobe.training.settings import RuntimeSettings


def test_nothing_that_decides_has_seen_a_label_of_the_target():
    pipeline = register.create_pipeline("cross_domain")
    read = {name for node in pipeline.nodes for name in node.inputs}
    assert "target.frames" in read
    assert not {name for name in read if name.startswith("target.labelled") or name.endswith("_scores")}
    # The table of arms holds scores of target test patients: it goes into the card, and no further.
    readers = [node.short_name for node in pipeline.nodes if "report.cross_domain.arms" in node.inputs]
    assert readers == ["log_model"]
    decide = next(node for node in pipeline.nodes if node.short_name == "decide")
    assert {name.rsplit(".", 1)[-1] for name in decide.inputs} == {
        "package", "logged", "reload", "source_evidence", "target_evidence", "latency",
        "params:registration",
    }  # fmt: skip


def test_a_study_without_a_registered_arm_registers_nothing():
    assert register.create_pipeline("ablations").nodes == []


def test_a_registered_arm_that_is_not_there(monkeypatch):
    table = {"finetuning": {"a": {"start": "random"}}, "registered": "b"}
    monkeypatch.setattr(arms, "_studies", lambda: {"study": table})
    arms.read_arms.cache_clear()
    with pytest.raises(InvalidMetadata, match=r"studies\.study\.registered is 'b', expected one of a"):
        arms.read_arms("study")
    arms.read_arms.cache_clear()


@pytest.mark.parametrize("study", ["breast", "transfer", "fetal"])
def test_nothing_that_decides_about_a_classifier_has_seen_the_target(study):
    pipeline = register.create_classifier_pipeline(study)
    read = {name for node in pipeline.nodes for name in node.inputs}
    assert "source.labelled_frames" in read
    assert not {name for name in read if name.startswith(("target.", "second_source."))}
    # The table of arms holds scores of target test patients: it goes into the card, and no further.
    readers = [node.short_name for node in pipeline.nodes if f"classify.{study}.report.arms" in node.inputs]
    assert readers == ["log_model"]


def test_a_study_of_classifiers_that_registers_nothing():
    assert register.create_classifier_pipeline("breast_in_domain").nodes == []


def test_an_adapted_ensemble_names_all_that_is_behind_it(classifiers):
    classifiers(
        arms={"plain": {}, "dann": {"adapt": "dann"}, "late": {"start": "dann"}},
        ensembles={"both": {"members": ["plain", "late"]}},
        registered="both",
    )
    package = next(
        node for node in register.create_classifier_pipeline("study").nodes if node.short_name == "package"
    )
    assert {"source.facts", "source.split", "target.facts", "target.split"} <= set(package.inputs)
    assert {"classify.study.plain.checkpoint", "classify.study.late.calibration"} <= set(package.inputs)


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ({"labels_of": ["target"]}, "a"),
        ({"split": "image"}, "a"),
        ({"labels_per_class": 3}, "a"),
        ({"labels_of": ["second_source"]}, "both"),
    ],
)
def test_references_and_controls_are_not_registered(classifiers, arm, name):
    with pytest.raises(InvalidMetadata, match=r"arm 'a' is a reference or a control"):
        classifiers(
            arms={"plain": {}, "a": arm},
            ensembles={"both": {"members": ["plain", "a"]}},
            registered=name,
        )


def test_a_registered_classifier_that_is_not_there(classifiers):
    with pytest.raises(InvalidMetadata, match=r"study\.registered is 'b', expected one of a"):
        classifiers(arms={"a": {}}, registered="b")


@pytest.fixture
def classifiers(monkeypatch):
    """Lets a table of classifiers take the place of the project's, and reads it."""

    def use(**table):
        monkeypatch.setattr(classifier_arms, "_study", lambda study: table)
        classifier_arms.read_classifiers.cache_clear()
        return classifier_arms.read_classifiers("study")

    yield use
    classifier_arms.read_classifiers.cache_clear()


def test_a_champion_that_cannot_be_rebuilt_is_an_obstacle_and_no_end(monkeypatch):
    def broken(*_given):
        raise CoverageError("TransUNet: 3 of 101 keys filled")

    champion = SimpleNamespace(package=SimpleNamespace(ensemble=broken))
    monkeypatch.setattr("crossprobe.tracking.fetch.fetch_model", lambda *_given: champion)
    monkeypatch.setattr("crossprobe.tracking.stage.current", lambda: SimpleNamespace(uri="sqlite://"))
    candidate = SimpleNamespace()
    models, obstacle = nodes._models(
        candidate, {"champion": 3}, SimpleNamespace(name="m"), RuntimeSettings(device="cpu")
    )
    assert models == {"candidate": candidate}
    assert obstacle == "version 3 cannot be compared: TransUNet: 3 of 101 keys filled"
