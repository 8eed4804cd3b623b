"""A classifier replaces another only on evidence, with its interval, and the first only on its own merits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.classifier_gate import (
    ClassifierEvidence,
    ClassifierGateSettings,
    compare_on_source,
    judge_classifier,
)
from crossprobe.evaluation.comparison_settings import StatisticsSettings

CLASSES = ("a", "b")
STATISTICS = StatisticsSettings(resamples=300)
SETTINGS = ClassifierGateSettings(statistics=STATISTICS)
COUNT = 60


def manifest(patients: int = COUNT) -> pd.DataFrame:
    return pd.DataFrame({
        "site": "source", "device": "d", "patient": [f"p{n:02}" for n in range(patients)],
        "video": [f"v{n:02}" for n in range(patients)], "frame": 0,
        "class": [CLASSES[n % 2] for n in range(patients)],
    })  # fmt: skip


def answers(wrong: int, patients: int = COUNT) -> np.ndarray:
    """Probabilities under which so many patients, of both classes alike, are named wrongly."""
    truth = np.arange(patients) % 2
    said = np.where(np.arange(patients) < wrong, 1 - truth, truth)
    sure = np.linspace(0.6, 0.9, patients)
    return np.stack([np.where(said == 0, sure, 1 - sure), np.where(said == 1, sure, 1 - sure)], axis=1)


def judged(candidate, champion=None, settings=SETTINGS, patients=COUNT, **changes) -> dict[str, bool]:
    given = {"candidate": answers(candidate, patients)}
    given |= {} if champion is None else {"champion": answers(champion, patients)}
    table = compare_on_source(manifest(patients), given, CLASSES, STATISTICS)
    evidence = {"latency_ms": 5.0, "reload_difference": 1e-7, "champion": 3 if champion is not None else None}
    checks = judge_classifier(ClassifierEvidence(table, 0.5, **(evidence | changes)), settings)
    return {check.name: check.passed for check in checks}


def failed(*given, **changes) -> set[str]:
    return {name for name, passed in judged(*given, **changes).items() if not passed}


def test_the_first_model_needs_its_own_merits_alone():
    assert judged(10) == {"reload": True, "source level": True, "latency": True}


def test_a_level_that_is_met_by_chance_does_not_do():
    """37 of 60 right is .62, above the level asked for; its interval holds chance."""
    assert failed(23) == {"source level"}
    assert not failed(23, settings=SETTINGS.model_copy(update={"above_chance": False}))


def test_an_equal_model_is_not_worse_and_one_much_worse_is():
    assert failed(10, 10) == set()
    worse = failed(20, 6)
    assert {"source balanced accuracy against version 3", "source AUROC against version 3"} <= worse


def test_a_mean_within_the_margin_does_not_do_if_its_interval_is_not():
    """Two patients more are wrong: .033 on average, but the interval reaches beyond .05."""
    assert failed(8, 6) == {"source balanced accuracy against version 3"}


def test_too_few_patients_are_no_evidence():
    assert len(failed(1, 1, patients=8)) == 2


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"latency_ms": 2000.0}, "latency"),
        ({"reload_difference": 0.01}, "reload"),
        ({"obstacle": "it answers other classes"}, "against the champion"),
    ],
)
def test_each_condition_alone(changes, name):
    assert failed(6, 6, **changes) == {name}


def test_no_held_out_patient():
    empty = {"candidate": np.zeros((0, 2)), "champion": np.zeros((0, 2))}
    table = compare_on_source(manifest(0), empty, CLASSES, STATISTICS)
    checks = judge_classifier(ClassifierEvidence(table, 0.5, 5.0, 0.0, 3), SETTINGS)
    assert [check.passed for check in checks] == [True, False, True, False, False]


def test_a_class_that_is_not_there_makes_the_comparison_fail_and_says_so():
    one_class = manifest().assign(**{"class": "a"})
    given = {"candidate": answers(0), "champion": answers(0)}
    table = compare_on_source(one_class, given, CLASSES, STATISTICS)
    checks = judge_classifier(ClassifierEvidence(table, 0.5, 5.0, 0.0, 3), SETTINGS)
    assert "is a class missing?" in next(check.finding for check in checks if "AUROC" in check.name)
