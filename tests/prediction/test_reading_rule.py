"""The bound catches what it promises, within the shares allowed, and looks where the model looked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.reading_rule import (
    NOTHING_FOUND,
    JudgedFrame,
    ReadingSettings,
    fit_reading_rule,
    frame_confidence,
)

frames = st.builds(
    JudgedFrame, st.one_of(st.none(), st.floats(0, 1).map(lambda value: round(value, 3))), st.floats(0, 1)
)


def flags(rule, frame):
    return bool(rule.verdict(frame.confidence))


@given(st.lists(frames, min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_shares_stated_are_shares_found(judged):
    rule = fit_reading_rule(judged, ReadingSettings())
    flagged = [flags(rule, frame) for frame in judged]
    poor = [frame.dsc < 0.7 for frame in judged]
    assert rule.flagged_share == pytest.approx(np.mean(flagged))
    if any(poor):
        caught = np.mean([flag for flag, is_poor in zip(flagged, poor, strict=True) if is_poor])
        assert rule.caught_share == pytest.approx(caught)
    else:
        assert rule.caught_share is None


@given(st.lists(frames, min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_lower_bound_would_do(judged):
    """Against every bound that could be chosen, tried one by one."""
    wanted = ReadingSettings()
    rule = fit_reading_rule(judged, wanted)
    sure = np.array([-1 if frame.confidence is None else frame.confidence for frame in judged])
    poor = np.array([frame.dsc < wanted.poor_dsc for frame in judged])

    def does(bound):
        flagged = sure < bound
        caught = flagged[poor].mean() if poor.any() else 1.0
        share = flagged.mean()
        return caught >= wanted.catch_share and wanted.least_flagged <= share <= wanted.most_flagged

    candidates = sorted({0.0, *np.nextafter(sure[sure >= 0], 2), 1.0})
    lower = [bound for bound in candidates if bound < rule.least_confidence]
    if does(rule.least_confidence):
        assert not [bound for bound in lower if bound > 0 and does(bound)]
    else:
        assert not [bound for bound in candidates if 0 < bound < 1 and does(bound)]


def test_a_clear_case():
    poor = [JudgedFrame(0.1 * number, 0.2) for number in range(1, 3)]
    good = [JudgedFrame(0.5 + 0.05 * number, 0.9) for number in range(8)]
    rule = fit_reading_rule([*poor, *good], ReadingSettings(catch_share=1.0))
    assert 0.2 < rule.least_confidence <= 0.5
    assert (rule.flagged_share, rule.caught_share) == (0.2, 1.0)
    assert "confidence 0.100 below" in rule.verdict(0.1)
    assert rule.verdict(0.6) == ""


def test_nothing_found_is_always_read():
    rule = fit_reading_rule([JudgedFrame(0.9, 0.95)] * 5, ReadingSettings(least_flagged=0.0))
    assert rule.verdict(None) == NOTHING_FOUND


def test_no_validation_frames():
    with pytest.raises(CrossprobeError, match="validation frames"):
        fit_reading_rule([], ReadingSettings())


def test_confidence_is_that_of_the_area_and_what_was_nearly_called():
    probability = np.array([[0.9, 0.3, 0.1]], np.float32)
    confidence = np.array([[0.8, 0.2, 0.99]], np.float32)
    assert frame_confidence(probability, confidence, 0.5) == pytest.approx(0.5)
    assert frame_confidence(np.full((1, 3), 0.4, np.float32), confidence, 0.5) is None
