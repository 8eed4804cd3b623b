"""Arms come from tables: bound functions keep their hints, and a wrong table says what is wrong with it."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from crossprobe.errors import InvalidMetadata
from crossprobe.hooks import flatten
from crossprobe.pipelines import arms
from crossprobe.pipelines.bound import bound
from crossprobe.training.settings import OptimiserSettings, TrainingSettings


def node(first: int, settings: TrainingSettings, *rest: str, arm_name: str) -> str:
    return f"{first} {settings.batch_size} {rest} {arm_name}"


def test_a_bound_function_keeps_what_kedro_reads():
    settings = TrainingSettings(steps=1, batch_size=2, optimiser=OptimiserSettings(learning_rate=1))
    stamped = bound(node, arm_name="mim")
    assert stamped(1, settings, "a") == "1 2 ('a',) mim"
    assert list(inspect.signature(stamped).parameters) == ["first", "settings", "rest"]
    assert get_type_hints(stamped)["settings"] is TrainingSettings
    assert stamped.__name__ == "node"


def test_binding_an_argument_that_is_not_there():
    with pytest.raises(TypeError, match="node has no argument arm"):
        bound(node, arm="mim")


@pytest.fixture
def table(monkeypatch):
    def use(**stages):
        monkeypatch.setattr(arms, "_studies", lambda: {"study": stages})
        arms.read_arms.cache_clear()
        return lambda: arms.read_arms("study")

    yield use
    arms.read_arms.cache_clear()


def test_an_arm_from_nowhere(table):
    read = table(pretraining={"mim": {"method": "mim"}}, finetuning={"late": {"start": "mimm"}})
    with pytest.raises(
        InvalidMetadata, match=r"finetuning\.late: start is 'mimm', expected one of random, imagenet, mim"
    ):
        read()


def test_a_fused_arm_without_its_branch(table):
    read = table(finetuning={"a": {"start": "random"}}, fusion={"both": {"branches": ["a", "b"]}})
    with pytest.raises(InvalidMetadata, match=r"fusion\.both: no fine-tuning arm named b"):
        read()


def test_the_tables_of_another_study(monkeypatch):
    studies = {
        "own": {"finetuning": {"a": {"start": "random"}}, "registered": "a"},
        "again": {"of": "own", "repeats": 2},
        "nowhere": {"of": "oown"},
        "both": {"of": "own", "fusion": {}},
    }
    monkeypatch.setattr(arms, "_studies", lambda: studies)
    arms.read_arms.cache_clear()
    try:
        again = arms.read_arms("again")
        assert (again.finetuning, again.repeats) == (arms.read_arms("own").finetuning, 2)
        assert again.registered is None
        with pytest.raises(InvalidMetadata, match=r"studies\.nowhere\.of is 'oown', expected one of own"):
            arms.read_arms("nowhere")
        with pytest.raises(InvalidMetadata, match=r"studies\.both: fusion beside `of`"):
            arms.read_arms("both")
        with pytest.raises(InvalidMetadata, match=r"studies\.yml: no study 'gone'"):
            arms.read_arms("gone")
    finally:
        arms.read_arms.cache_clear()


def test_an_arm_called_as_a_repeat(table):
    written = {"a": {"start": "random"}, "a_seed_1": {"start": "random"}}
    with pytest.raises(InvalidMetadata, match=r"studies\.study: a_seed_1 may not end in _seed_ and a number"):
        table(finetuning=written)()


@pytest.mark.parametrize(("own", "repeat", "seed"), [(None, 0, 7), (None, 2, 9), (3, 0, 3), (3, 1, 4)])
def test_a_repeat_counts_on_from_the_seed_of_its_arm(own, repeat, seed):
    settings = TrainingSettings(steps=1, batch_size=2, seed=7, optimiser=OptimiserSettings(learning_rate=1))
    arm = arms.FinetuningArm(start="random", seed=own)
    assert arms.reseeded(settings, arm, repeat).seed == seed


def test_a_misspelt_key_of_an_arm(table):
    with pytest.raises(ValueError, match="frame_gapp"):
        table(pretraining={"a": {"method": "contrastive", "frame_gapp": 3}}, finetuning={})()


def test_parameters_are_logged_leaf_by_leaf():
    settings = TrainingSettings(steps=1, batch_size=2, optimiser=OptimiserSettings(learning_rate=0.5))
    flat = flatten({"training": settings, "list": [1, 2], "empty": {}}, "stage")
    assert flat["stage.training.optimiser.learning_rate"] == 0.5
    assert flat["stage.list"] == [1, 2]
    assert flat["stage.empty"] == {}
