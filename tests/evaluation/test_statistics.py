"""Intervals that cover, tests that match scipy, corrections worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.evaluation.statistics import (
    Family,
    StatisticsSettings,
    bootstrap_interval,
    compare,
    comparisons,
    holm,
    interval_of,
    smallest_p,
    wilcoxon_p,
)

QUICK = StatisticsSettings(resamples=500)


def table(values: dict[str, list[float]], site="target", metric="dsc") -> pd.DataFrame:
    rows = [
        {"arm": arm, "site": site, "device": "d", "patient": f"p{index}", "metric": metric, "value": value}
        for arm, column in values.items()
        for index, value in enumerate(column)
    ]
    return pd.DataFrame(rows)


def test_wilcoxon_is_scipys_on_318_pairs_with_ties(golden):
    reference = json.loads(golden("wilcoxon_scipy.json").read_text())
    p = wilcoxon_p(np.array(reference["a"]) - np.array(reference["b"]))
    assert p == pytest.approx(reference["two_sided"][1], rel=1e-9)


def test_wilcoxon_by_hand():
    assert wilcoxon_p(np.array([1.0, 2, 3, 4, 5, 6])) == pytest.approx(2 / 2**6)
    assert wilcoxon_p(np.array([1.0, 2, 3, 4, -5, np.nan])) == pytest.approx(2 * 10 / 32)
    assert wilcoxon_p(np.zeros(8)) == 1
    assert np.isnan(wilcoxon_p(np.array([np.nan])))


def test_smallest_p_is_reached_and_never_beaten():
    for count in range(1, 9):
        assert wilcoxon_p(np.arange(1.0, count + 1)) == pytest.approx(smallest_p(count))
    assert smallest_p(5) > 0.05 >= smallest_p(6)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, then never falling: .04 .06 .06 .06.
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, np.nan, 0.6]).tolist() == pytest.approx([0.02, np.nan, 0.6], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


# statsmodels collects garbage at every call, which takes longer than the correction: few examples.
@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_nor_changes_the_order(values):
    corrected = holm(values)
    assert (corrected >= np.array(values) - 1e-12).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(values, kind="stable")]) >= -1e-12).all()


def test_intervals_cover_as_often_as_they_say():
    generator = np.random.default_rng(0)
    quick = StatisticsSettings(resamples=300)
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval(generator.beta(8, 3, 25), quick)
        covered += interval.low <= 8 / 11 <= interval.high
    assert 0.87 <= covered / 200 <= 0.99


def test_interval_is_seeded_and_holds_its_mean():
    values = np.random.default_rng(3).random(12)
    first, again = bootstrap_interval(values, QUICK), bootstrap_interval(values, QUICK)
    assert first == again
    assert first.low < first.mean < first.high
    assert first.mean == pytest.approx(values.mean())
    assert (first.method, first.n_patients) == ("bca", 12)
    wide = bootstrap_interval(values, StatisticsSettings(resamples=500, confidence=0.99))
    assert wide.high - wide.low > first.high - first.low


def test_few_patients_and_equal_values():
    alone = bootstrap_interval(np.array([0.5, np.nan]))
    assert (alone.mean, alone.n_patients, alone.method) == (0.5, 1, "none")
    assert np.isnan(alone.low)
    assert np.isnan(bootstrap_interval(np.array([])).mean)
    equal = bootstrap_interval(np.full(7, 0.25))
    assert (equal.low, equal.high) == (0.25, 0.25)


def test_seeds_widen_the_interval():
    generator = np.random.default_rng(0)
    patients, seeds = generator.normal(0.7, 0.02, 30), np.array([-0.1, 0.0, 0.1])
    nested = bootstrap_interval(patients[:, None] + seeds, QUICK)
    plain = bootstrap_interval(patients, QUICK)
    assert nested.method == "nested"
    assert nested.mean == pytest.approx(plain.mean)
    assert nested.high - nested.low > 3 * (plain.high - plain.low)


def test_patients_and_seeds_are_drawn_apart():
    """Where every value is a patient's part plus a seed's, so is the variance of a mean drawn again."""
    generator = np.random.default_rng(1)
    patients, seeds = generator.normal(0.7, 0.10, 40), generator.normal(0, 0.06, 30)
    nested = bootstrap_interval(patients[:, None] + seeds, StatisticsSettings(resamples=4000))
    deviation = np.sqrt(patients.var() / 40 + seeds.var() / 30)
    assert (nested.high - nested.low) / (2 * 1.96 * deviation) == pytest.approx(1, abs=0.05)


def test_three_trainings_cover_the_truth_in_three_cases_of_four():
    """Where trainings differ more than patients do, as the page and the documentation say."""
    generator, covered = np.random.default_rng(0), 0
    for study in range(400):
        values = generator.normal(0, 0.01, (20, 1)) + generator.normal(0, 0.05, 3)
        interval = bootstrap_interval(values, StatisticsSettings(resamples=400, seed=study))
        covered += interval.low <= 0 <= interval.high
    assert 0.65 <= covered / 400 <= 0.82


def test_comparison_pairs_patients_by_name():
    metrics = table({"mim": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "source_only": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]})
    shuffled = metrics.sample(frac=1, random_state=0)
    extra = table({"mim": [0.0] * 8}).iloc[6:]
    result = compare(pd.concat([shuffled, extra]), "mim", "source_only", "target", "dsc", QUICK)
    assert result["n_patients"] == 6
    assert result["difference"] == pytest.approx(0.1)
    assert result["p"] == pytest.approx(smallest_p(6), rel=0.5)
    assert result["note"] == ""


def test_too_few_patients_and_identical_arms_are_said_plainly():
    few = table({"a": [0.5, 0.6, 0.7], "b": [0.4, 0.4, 0.4]})
    assert "3 pairs" in compare(few, "a", "b", "target", "dsc", QUICK)["note"]
    same = table({"a": [0.5, 0.6] * 4, "b": [0.5, 0.6] * 4})
    result = compare(same, "a", "b", "target", "dsc", QUICK)
    assert result["p"] == 1
    assert "identical" in result["note"]


def test_families_are_corrected_apart():
    generator = np.random.default_rng(0)
    base = generator.random(12)
    arms = {"source_only": base, "mim": base + 0.1, "mt_nxent": base + generator.normal(0, 0.1, 12)}
    metrics = pd.concat([table(arms), table(arms, site="source")])
    first = Family(against=("source_only",))
    second = Family(name="second", sites=("source",), against=("source_only", "mim"), metrics=("dsc", "iou"))
    result = comparisons(metrics, [first, second], QUICK)
    assert result["family"].value_counts().to_dict() == {"primary": 2, "second": 3}
    assert set(result["family_size"][result["family"] == "second"]) == {3}, (
        "iou is not there and does not count"
    )
    mim = result.query("family == 'primary' and arm == 'mim'").iloc[0]
    assert mim["p_holm"] == pytest.approx(2 * mim["p"])
    assert comparisons(metrics, [Family(against=("absent",))]).empty


def test_a_pair_is_tested_once():
    assert Family(against=("a", "b")).pairs(["a", "b", "c"]) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert Family(against=("a",), arms=("c", "x")).pairs(["a", "b", "c"]) == [("c", "a")]


def test_seeds_nest_in_tables_too():
    arms = {"a": [0.5, 0.6, 0.7, 0.8], "b": [0.4, 0.5, 0.6, 0.7]}
    metrics = pd.concat([table(arms).assign(seed=0), table(arms).assign(seed=1)])
    assert interval_of(metrics, "a", "target", "dsc", QUICK).method == "nested"
    unequal = metrics[~((metrics["arm"] == "b") & (metrics["seed"] == 1))]
    result = compare(unequal, "a", "b", "target", "dsc", QUICK)
    assert result["difference"] == pytest.approx(0.1)
    assert result["n_patients"] == 4
