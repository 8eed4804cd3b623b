"""Tables of classifiers say what is wrong with them, and arms lay their own fields over the study's."""

from __future__ import annotations

import pytest

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.classification import arms
from crossprobe.pipelines.classification.arms import ClassifierArm
from crossprobe.pipelines.classification.settings import ClassifierTraining

STAGE = ClassifierTraining.model_validate(
    {
        "model": {"backbone": "small_cnn", "image_size": 32},
        "training": {"epochs": 5, "batch_size": 8, "optimiser": {"name": "adam", "learning_rate": 0.01}},
    }
)


@pytest.fixture
def table(monkeypatch):
    def use(**given):
        monkeypatch.setattr(arms, "_study", lambda study: given)
        arms.read_classifiers.cache_clear()
        return lambda: arms.read_classifiers("study")

    yield use
    arms.read_classifiers.cache_clear()


def test_an_arm_from_nowhere(table):
    read = table(arms={"late": {"start": "early"}, "early": {}})
    with pytest.raises(
        InvalidMetadata, match=r"study\.arms\.late: start is 'early', expected an arm above it: n"
    ):
        read()


def test_an_ensemble_without_its_member(table):
    with pytest.raises(InvalidMetadata, match=r"study\.ensembles\.both: no arm named b; there are a"):
        table(arms={"a": {}}, ensembles={"both": {"members": ["a", "b"]}})()


def test_a_reserved_name(table):
    with pytest.raises(InvalidMetadata, match="the name is taken"):
        table(arms={"report": {}})()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": {"backbonee": "x"}}, "model has no backbonee"),
        ({"training": {"stepps": 3}}, "training has no stepps"),
        ({"augment": {"shear": 3}}, "augment has no shear"),
        ({"adapt": "dann", "labels_of": ["target"]}, "takes the target as unlabelled"),
        ({"split": "image", "adapt": "dann"}, "control inside the source"),
        ({"dann": {"weight": 0.0}}, "needs adapt: dann"),
        ({"adapt": "dann", "dann": {"weigth": 0.0}}, "dann has no weigth"),
        ({"labels_of": ["source", "target"], "labels_per_class": 3}, "images of one site"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ClassifierArm.model_validate(given)


def test_an_arm_changes_what_it_names_and_nothing_else():
    changed = STAGE.for_arm(
        {
            "model": {"small_cnn": {"kernel_px": 2}},
            "training": {"steps": 7, "optimiser": {"learning_rate": 0.1}},
        },
        3,
    )
    assert changed.model.small_cnn.kernel_px == 2
    assert changed.model.small_cnn.filters == STAGE.model.small_cnn.filters
    assert (changed.training.steps, changed.training.epochs, changed.training.seed) == (7, None, 3)
    assert (changed.training.optimiser.name, changed.training.optimiser.learning_rate) == ("adam", 0.1)
    assert STAGE.for_arm({}, None) == STAGE


def test_a_value_out_of_range_is_refused():
    with pytest.raises(ValueError, match="dropout"):
        STAGE.for_arm({"model": {"dropout": 2.0}}, None)


def test_a_class_both_asked_for_and_ignored():
    with pytest.raises(ValueError, match="both name normal"):
        ClassifierTraining.model_validate(
            STAGE.model_dump() | {"classes": ("a", "normal"), "ignore_classes": ("normal",)}
        )
