"""Calibration against sums written out by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.calibration import (
    brier_score,
    reliability_bins,
    reliability_table,
)
from crossprobe.fusion.temperature import expected_calibration_error


def test_by_hand():
    probability, reference = np.array([[0.1, 0.2], [0.9, 0.9]]), np.array([[0, 1], [1, 1]])
    # Two bins: {.1, .2} states .15 and holds .5; {.9, .9} states .9 and holds 1.
    assert expected_calibration_error(probability, reference, bins=2) == pytest.approx(0.5 * 0.35 + 0.5 * 0.1)
    assert brier_score(probability, reference) == pytest.approx((0.01 + 0.64 + 0.01 + 0.01) / 4)


def test_brier_is_scikit_learns():
    generator = np.random.default_rng(0)
    probability, reference = generator.random(500), generator.integers(0, 2, 500)
    assert brier_score(probability, reference) == pytest.approx(brier_score_loss(reference, probability))


def test_honest_probabilities_score_near_zero_and_certain_lies_one():
    generator = np.random.default_rng(1)
    probability = generator.random(200_000)
    honest = generator.random(200_000) < probability
    assert expected_calibration_error(probability, honest) < 0.01
    assert expected_calibration_error(np.ones(5), np.zeros(5)) == 1


def test_frames_pool_into_a_table():
    first, second = (
        (np.array([[0.05, 1.0]]), np.array([[0, 1]])),
        (np.array([[0.05, 0.07]]), np.array([[1, 0]])),
    )
    table = reliability_table("mim", [first, second], bins=10)
    assert table["bin"].tolist() == [0, 9]
    assert table["pixels"].tolist() == [3, 1]
    assert table["observed"].tolist() == pytest.approx([1 / 3, 1])
    assert table["stated"].tolist() == pytest.approx([0.17 / 3, 1])


def test_logits_are_refused():
    with pytest.raises(CrossprobeError, match="sigmoid"):
        reliability_bins(np.array([3.0]), np.array([1]))
    with pytest.raises(CrossprobeError, match="against"):
        reliability_bins(np.array([0.5]), np.array([1, 0]))
