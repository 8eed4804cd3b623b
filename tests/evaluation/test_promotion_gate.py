"""A model replaces another only on evidence, with its interval, and the first one only on its own merits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.promotion_gate import Evidence, GateSettings, judge


def table(candidate, champion=None) -> pd.DataFrame:
    parts = {"candidate": candidate} | ({} if champion is None else {"champion": champion})
    return pd.concat(
        [
            pd.DataFrame({"model": name, "patient": [f"p{n}" for n in range(len(values))], "value": values})
            for name, values in parts.items()
        ]
    )


def target(candidate, champion=None, found=1.0, champion_found=1.0) -> pd.DataFrame:
    """Steadiness, and the share of frames with a finding."""
    rows = table(candidate, champion)
    return rows.assign(found=rows["model"].map({"candidate": found, "champion": champion_found}))


GOOD = np.array([0.82, 0.85, 0.88, 0.9, 0.79, 0.86])


def evidence(**changes) -> Evidence:
    given = {
        "source": table(GOOD, GOOD),
        "target": target(GOOD, GOOD),
        "latency_ms": 20.0,
        "reload_difference": 1e-7,
        "champion": 3,
    }
    return Evidence(**(given | changes))


def passed(found: Evidence, **settings) -> dict[str, bool]:
    return {check.name: check.passed for check in judge(found, GateSettings(**settings))}


def test_an_equal_model_is_not_worse():
    assert all(passed(evidence()).values())


def test_a_better_model_is_called_better():
    checks = judge(evidence(source=table(GOOD + 0.05, GOOD)), GateSettings())
    assert all(check.passed for check in checks)
    assert "better" in next(check.finding for check in checks if "source Dice" in check.name)


def test_a_model_worse_by_more_than_the_margin_fails_on_that_alone():
    failed = {name for name, ok in passed(evidence(source=table(GOOD - 0.03, GOOD))).items() if not ok}
    assert failed == {"source Dice against version 3"}
    assert all(passed(evidence(source=table(GOOD - 0.03, GOOD)), source_margin=0.04).values())


def test_a_mean_within_the_margin_does_not_do_if_its_interval_is_not():
    """On average .015 worse, but for two patients by .1: the interval reaches beyond .02."""
    worse = GOOD - np.array([0.1, 0.1, -0.03, -0.03, -0.03, -0.02])
    found = passed(evidence(source=table(worse, GOOD)))
    assert float((worse - GOOD).mean()) > -0.02
    assert not found["source Dice against version 3"]


def test_steadiness_on_the_target_counts():
    failed = {name for name, ok in passed(evidence(target=target(GOOD - 0.2, GOOD))).items() if not ok}
    assert failed == {"target steadiness against version 3"}


def test_a_model_that_finds_nothing_on_the_target_fails_first_or_not():
    nothing = np.full(len(GOOD), np.nan)
    first = passed(evidence(source=table(GOOD), target=target(nothing, found=0.0), champion=None))
    assert [name for name, ok in first.items() if not ok] == ["target findings"]
    failed = {n for n, ok in passed(evidence(target=target(nothing, GOOD, found=0.0))).items() if not ok}
    assert failed == {
        "target findings", "target findings against version 3", "target steadiness against version 3",
    }  # fmt: skip


def test_far_fewer_findings_than_the_champion_fail_though_they_are_enough():
    fewer = evidence(target=target(GOOD, GOOD, found=0.7, champion_found=0.95))
    assert [name for name, ok in passed(fewer).items() if not ok] == ["target findings against version 3"]
    assert all(passed(fewer, found_margin=0.3).values())
    assert not passed(fewer, least_target_found=0.8)["target findings"]


def test_a_champion_that_finds_nothing_can_be_replaced():
    nothing = np.full(len(GOOD), np.nan)
    assert all(passed(evidence(target=target(GOOD, nothing, champion_found=0.0))).values())


def test_no_target_patients_are_no_evidence():
    assert not passed(evidence(target=target(GOOD[:0]), champion=None))["target findings"]


def test_patients_are_paired():
    """The same values in another order would be another comparison."""
    spread = np.array([0.3, 0.5, 0.7, 0.9, 0.95, 0.6])
    assert all(passed(evidence(source=table(spread, spread))).values())
    assert not passed(evidence(source=table(spread, spread[::-1])))["source Dice against version 3"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"latency_ms": 1001.0}, "latency"),
        ({"reload_difference": 0.01}, "reload"),
        ({"reload_difference": float("nan")}, "reload"),
        ({"source": table(GOOD - 0.5, GOOD - 0.5)}, "source level"),
        ({"source": table(GOOD[:0], GOOD)}, "source level"),
        ({"obstacle": "takes images of another size"}, "against the champion"),
    ],
)
def test_absolute_checks(changes, name):
    assert not passed(evidence(**changes))[name]


def test_the_first_model_needs_no_champion():
    first = evidence(source=table(GOOD), target=target(GOOD), champion=None)
    assert passed(first) == {"reload": True, "source level": True, "target findings": True, "latency": True}
    assert not passed(first, least_source_dsc=0.95)["source level"]


def test_too_few_patients_decide_nothing():
    few = evidence(source=table(GOOD[:2], GOOD[:2]))
    assert not passed(few)["source Dice against version 3"]


def test_patients_that_one_has_learned_from_are_left_out():
    found = table(GOOD, GOOD[:2])
    check = next(c for c in judge(evidence(source=found), GateSettings()) if "source Dice" in c.name)
    assert check.finding.startswith("2 patients")
