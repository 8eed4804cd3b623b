"""A classified frame is flagged where its likeliest class is not likely enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.class_reading import ClassReadingSettings, fit_class_reading

SETTINGS = ClassReadingSettings(catch_share=1.0, least_flagged=0.0, most_flagged=0.5)


def answers(sure, right):
    """Probabilities of two classes, the first one likelier, and labels that make answers right or not."""
    sure = np.asarray(sure)
    return np.stack([sure, 1 - sure], axis=1), np.where(right, 0, 1)


def test_the_lowest_bound_that_catches_the_wrong_answers():
    rule = fit_class_reading(*answers([0.95, 0.9, 0.7, 0.8], [True, True, False, True]), SETTINGS)
    assert 0.7 < rule.least_confidence < 0.71
    assert (rule.images, rule.wrong_images, rule.caught_share, rule.flagged_share) == (4, 1, 1.0, 0.25)
    assert rule.verdict(0.7) == "unsure: probability 0.700 below 0.700"
    assert rule.verdict(0.8) == ""


def test_not_more_are_flagged_than_allowed():
    rule = fit_class_reading(*answers([0.6, 0.7, 0.8, 0.99], [True, True, True, False]), SETTINGS)
    assert rule.flagged_share == 0.5
    assert rule.caught_share == 0.0


def test_nothing_wrong_is_no_share():
    rule = fit_class_reading(*answers([0.6, 0.9], [True, True]), SETTINGS)
    assert (rule.wrong_images, rule.caught_share) == (0, None)


def test_no_images():
    with pytest.raises(CrossprobeError, match="needs validation images"):
        fit_class_reading(np.zeros((0, 2)), np.zeros(0), SETTINGS)


@given(st.lists(st.tuples(st.floats(0.5, 1), st.booleans()), min_size=1, max_size=30))
def test_what_the_rule_says_it_did_is_what_its_verdicts_do(frames):
    sure, right = (np.array(part) for part in zip(*frames, strict=True))
    probabilities, labels = answers(sure, right)
    rule = fit_class_reading(probabilities, labels, SETTINGS)
    flagged = np.array([bool(rule.verdict(float(value))) for value in probabilities.max(1)])
    assert rule.flagged_share == pytest.approx(flagged.mean())
    assert rule.flagged_share <= 0.5
