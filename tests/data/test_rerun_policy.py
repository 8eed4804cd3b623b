from __future__ import annotations

import datetime

import pytest

from crossprobe.data.rerun_policy import RerunRule, decide

NOW = datetime.datetime(2026, 3, 10, tzinfo=datetime.UTC)
PATIENTS = {"source": ["a", "b"], "target": ["c"]}
HASHES = {"source": "1", "target": "2"}
RULE = RerunRule(new_patients=2, days=30)


def trained(days_ago: float, patients=PATIENTS, hashes=HASHES):
    first = decide(RULE, hashes, patients, None, NOW)
    return {
        "data_hash": first.data_hash,
        "patients": patients,
        "trained": NOW - datetime.timedelta(days=days_ago),
    }


def test_the_first_time_is_due():
    decision = decide(RULE, HASHES, PATIENTS, None, NOW)
    assert (decision.retrain, decision.reason, decision.new_patients) == (True, "no training on record", 3)


def test_unchanged_data_are_never_trained_on_again():
    decision = decide(RULE, HASHES, PATIENTS, trained(1000), NOW)
    assert (decision.retrain, decision.changed, decision.reason) == (False, False, "nothing changed")


@pytest.mark.parametrize(
    ("new", "days", "rule", "due"),
    [
        (1, 1, RULE, False),
        (2, 1, RULE, True),
        (0, 29.9, RULE, False),
        (0, 30, RULE, True),
        (5, 1, RerunRule(new_patients=None, days=30), False),
        (0, 99, RerunRule(new_patients=1, days=None), False),
    ],
)
def test_new_patients_or_days(new, days, rule, due):
    patients = {"source": ["a", "b", *(f"n{i}" for i in range(new))], "target": ["c"]}
    decision = decide(rule, {"source": "other", "target": "2"}, patients, trained(days), NOW)
    assert decision.changed
    assert decision.retrain is due
    assert decision.new_patients == new
    assert f"{new} new patients and {days:.1f} days" in decision.reason


def test_a_clock_that_was_set_back_counts_no_days():
    decision = decide(RULE, {"source": "x", "target": "2"}, PATIENTS, trained(-40), NOW)
    assert not decision.retrain
    assert decision.days == 0
    assert "the clock stands before the last training" in decision.reason


def test_times_without_a_zone_are_in_utc():
    last = trained(31)
    last["trained"] = last["trained"].replace(tzinfo=None)
    assert decide(RULE, {"source": "x", "target": "2"}, PATIENTS, last, NOW).retrain
