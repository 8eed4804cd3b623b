"""Figures of classifiers against scikit-learn with sample weights, and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.class_metrics import (
    binary_auroc,
    calibration_error,
    class_metrics,
    referral_curve,
    risk_coverage_area,
)

CLASSES = ("benign", "malignant", "normal")


def case(seed: int = 0, count: int = 60):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    probabilities = generator.dirichlet(np.ones(3), count)
    probabilities[np.arange(count), labels] += 0.4
    probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities.round(2) / probabilities.round(2).sum(1, keepdims=True), labels, generator


def test_every_figure_against_scikit_learn():
    probabilities, labels, generator = case()
    weights = np.stack([np.ones(60), generator.random(60), generator.integers(0, 4, 60)])
    found = class_metrics(probabilities, labels, weights, CLASSES)
    predicted = probabilities.argmax(1)
    for row, weight in enumerate(weights):
        options = {"sample_weight": weight}
        expected = {
            "accuracy": sk.accuracy_score(labels, predicted, **options),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted, **options),
            "f1_macro": sk.f1_score(labels, predicted, average="macro", **options),
            "precision_macro": sk.precision_score(labels, predicted, average="macro", **options),
            "nll": sk.log_loss(labels, probabilities, **options),
            "auroc": np.mean(
                [sk.roc_auc_score(labels == k, probabilities[:, k], **options) for k in range(3)]
            ),
            "brier": np.average(((probabilities - np.eye(3)[labels]) ** 2).sum(1), weights=weight),
        }
        each = zip(*sk.precision_recall_fscore_support(labels, predicted, **options), CLASSES, strict=False)
        for precision, recall, f1, _, name in each:
            expected |= {f"precision_{name}": precision, f"recall_{name}": recall, f"f1_{name}": f1}
        for k, name in enumerate(CLASSES):
            wrong = weight[(predicted == k) & (labels != k)].sum()
            expected[f"fpr_{name}"] = wrong / weight[labels != k].sum()
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value), name


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=25))
@settings(max_examples=80, deadline=None)
def test_auroc_counts_pairs(triples):
    scores, positive, weights = (np.array(column) for column in zip(*triples, strict=True))
    won = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pair = weights[i] * weights[j]
            total += pair
            won += pair * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    found = binary_auroc(scores.astype(float), positive, weights[None].astype(float))[0]
    assert np.isnan(found) if total == 0 else found == pytest.approx(won / total)


def test_a_class_that_is_not_there_is_left_out_of_means():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    found = class_metrics(probabilities, np.array([0, 1]), np.ones((1, 2)), CLASSES)
    assert np.isnan(found["recall_normal"][0])
    assert found["balanced_accuracy"][0] == 1
    assert found["auroc"][0] == 1


def test_a_class_that_is_never_named_has_no_precision():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    found = class_metrics(probabilities, np.array([0, 1]), np.ones((1, 2)), ("a", "b"))
    assert (found["precision_b"][0], found["recall_b"][0], found["f1_b"][0]) == (0, 0, 0)


def test_calibration_error_by_hand():
    confidence, right = np.array([0.95, 0.95, 0.65, 0.65]), np.array([True, False, True, True])
    found = calibration_error(confidence, right, np.ones((1, 4)))[0]
    assert found == pytest.approx(0.5 * abs(0.95 - 0.5) + 0.5 * abs(0.65 - 1))


def test_risk_and_coverage_by_hand():
    uncertainty, right = np.array([0.1, 0.2, 0.3, 0.4]), np.array([True, True, False, True])
    found = risk_coverage_area(uncertainty, right, np.ones((1, 4)))[0]
    assert found == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    equal = risk_coverage_area(np.zeros(4), right, np.ones((1, 4)))[0]
    assert equal == pytest.approx(1 / 4)


def test_referring_the_unsure_by_hand():
    uncertainty, right = np.array([0.4, 0.1, 0.3, 0.2]), np.array([False, True, False, True])
    found = referral_curve(uncertainty, right, np.ones(4), np.array([0, 0.25, 0.5, 0.375]))
    assert found == pytest.approx([0.5, 2 / 3, 1.0, 0.8])


def test_shapes_are_checked():
    with pytest.raises(CrossprobeError, match="do not fit 3 classes"):
        class_metrics(np.ones((4, 2)), np.zeros(4, int), np.ones((1, 4)), CLASSES)
