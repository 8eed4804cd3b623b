"""Patients count alike, intervals are drawn over patients, arms are compared on the same draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.answers import ensemble_predictions
from crossprobe.evaluation.classification import (
    confusion_table,
    image_weights,
    patient_metrics,
    prediction_table,
    referral_table,
    score_table,
)
from crossprobe.evaluation.classifier_table import classifier_table, training_minutes
from crossprobe.evaluation.comparison_settings import StatisticsSettings

CLASSES = ("a", "b")
STATISTICS = StatisticsSettings(resamples=300)


def frames(patients: int = 30, images: int = 2) -> pd.DataFrame:
    rows = [
        {"site": "target", "device": "d", "patient": f"p{n:02}", "video": f"v{n:02}-{i}", "frame": 0,
         "class": CLASSES[n % 2]}
        for n in range(patients)
        for i in range(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def predictions(arm: str, wrong: float, answer: str = "plain", seed: int = 0) -> pd.DataFrame:
    table = frames()
    generator = np.random.default_rng(seed)
    truth = (table["class"] == "b").to_numpy().astype(int)
    said = np.where(generator.random(len(table)) < wrong, 1 - truth, truth)
    sure = generator.uniform(0.55, 0.95, len(table))
    values = np.stack([np.where(said == 0, sure, 1 - sure), np.where(said == 1, sure, 1 - sure)], axis=1)
    return prediction_table(arm, answer, table, values, CLASSES, 1 - sure)


def test_patients_count_alike_however_many_images_they_have():
    table = pd.DataFrame(
        {"patient": ["p", "p", "p", "q"], "video": ["v", "v", "w", "x"], "frame": [0, 1, 0, 0]}
    )
    assert image_weights(table) == pytest.approx([1 / 8, 1 / 8, 1 / 4, 1 / 2])


def test_accuracy_is_the_mean_over_patients():
    table = predictions("one", 0.3)
    scores = score_table(table, None, STATISTICS).set_index("metric")
    means = patient_metrics(table).query("metric == 'accuracy'")["value"]
    assert scores.loc["accuracy", "value"] == pytest.approx(means.mean())
    assert scores.loc["accuracy", "low"] < scores.loc["accuracy", "value"] < scores.loc["accuracy", "high"]
    assert scores.loc["accuracy", "n_patients"] == 30
    assert scores.loc["accuracy", "n_images"] == 60


def test_an_arm_is_compared_on_the_same_draws():
    both = pd.concat([predictions("base", 0.3), predictions("same", 0.3), predictions("good", 0.02, seed=1)])
    scores = score_table(both, "base", STATISTICS)
    accuracy = scores[scores["metric"] == "accuracy"].set_index("arm")
    same = accuracy.loc["same", ["baseline_difference", "baseline_low", "baseline_high"]]
    assert same.tolist() == [0, 0, 0]
    assert accuracy.loc["good", "baseline_low"] > 0
    assert np.isnan(accuracy.loc["base", "baseline_difference"])


def test_one_patient_gives_no_interval():
    table = predictions("one", 0.3)
    lonely = table[table["patient"] == "p00"]
    assert score_table(lonely, None, STATISTICS)["low"].isna().all()


def test_images_are_counted_by_true_and_named_class():
    table = predictions("one", 0.3)
    counts = confusion_table(table)
    assert counts["images"].sum() == 60
    crossed = pd.crosstab(table["class"], table["predicted"])
    for row in counts.to_dict("records"):
        assert row["images"] == crossed.loc[row["class"], row["predicted"]]


def test_referral_starts_at_the_accuracy():
    table = predictions("one", 0.3)
    curve = referral_table(table)
    scores = score_table(table, None, STATISTICS).set_index("metric")
    assert curve["accuracy"].iloc[0] == pytest.approx(scores.loc["accuracy", "value"])


def test_ensembles_average_and_vote():
    tables = [predictions(arm, 0.4, "calibrated", seed) for seed, arm in enumerate("xyz")]
    joined = ensemble_predictions(pd.concat(tables, ignore_index=True), "all", ["x", "y", "z"])
    average, vote = (joined[joined["arm"] == f"all_{kind}"] for kind in ("average", "vote"))
    mean = np.mean([table["p:b"] for table in tables], axis=0)
    assert average["p:b"].to_numpy() == pytest.approx(mean)
    majority = np.sum([table["predicted"] == "b" for table in tables], axis=0) >= 2
    assert (vote["predicted"] == "b").tolist() == majority.tolist()
    assert set(joined["answer"]) == {"plain"}


def test_members_of_another_split_cannot_be_joined():
    tables = [predictions("x", 0.4, "calibrated"), predictions("y", 0.4, "calibrated").iloc[2:]]
    with pytest.raises(CrossprobeError, match=r"ensemble all: .*different images of target"):
        ensemble_predictions(pd.concat(tables, ignore_index=True), "all", ["x", "y"])


def test_the_table_of_arms_holds_plain_answers_only():
    both = pd.concat([predictions("one", 0.3), predictions("one", 0.3, "tta")])
    table = classifier_table(score_table(both, None, STATISTICS))
    assert "answer" not in table
    assert not table.duplicated(["arm", "site", "metric"]).any()


def test_training_time_leaves_pauses_out():
    history = pd.DataFrame(
        {"step": [10, 20, 30, 30], "metric": ["step_seconds"] * 3 + ["loss"], "value": [2.0, 2.0, 500.0, 1.0]}
    )
    assert training_minutes(history) == pytest.approx(1.0)
    assert np.isnan(training_minutes(history[history["metric"] == "loss"]))
