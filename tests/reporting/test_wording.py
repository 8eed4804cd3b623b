"""Verdicts say no more than the numbers, and negative results are said as plainly as positive ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from crossprobe.reporting.summary import summary
from crossprobe.reporting.wording import (
    HELPS,
    Compared,
    interval,
    number,
    p_clause,
    p_value,
    plural,
    verdict,
    with_interval,
)

NONE = math.nan


@pytest.mark.parametrize(
    ("value", "metric", "sign", "text"),
    [
        (0.72213, "dsc", False, "0.722"),
        (-0.0421, "dsc", True, "\u22120.042"),
        (0.0421, "dsc", True, "+0.042"),
        (-0.0001, "dsc", True, "0.000"),
        (2.345, "hd95_mm", False, "2.35"),
        (NONE, "dsc", False, "\u2013"),
    ],
)
def test_numbers(value, metric, sign, text):
    assert number(value, metric, sign) == text


def test_intervals_p_values_and_counts():
    assert interval(0.1, 0.25) == "[0.100,\u00a00.250]"
    assert interval(NONE, 0.2) == ""
    assert with_interval(0.2, NONE, NONE) == "0.200"
    assert (p_value(0.0004), p_value(0.0312), p_value(NONE)) == ("< 0.001", "0.031", "\u2013")
    assert p_clause(NONE) == "no test declared"
    assert p_clause(0.2) == "Holm\u00a0p\u00a0=\u00a00.200"
    assert p_clause(1e-9) == "Holm\u00a0p\u00a0<\u00a00.001"
    assert (plural(1, "frame"), plural(1200, "frame")) == ("1 frame", "1,200 frames")


@pytest.mark.parametrize(
    ("compared", "text"),
    [
        (Compared(0.05, 0.02, 0.08, 0.01, 17), "helps here"),
        (Compared(-0.05, -0.08, -0.02, 0.01, 17), "hurts here"),
        (Compared(0.05, -0.01, 0.08, 0.3, 17), "does not help here (interval covers 0)"),
        (Compared(0.05, 0.02, 0.08, 0.2, 17), "seems to help here, but the corrected test does not show it"),
        (Compared(0.05, 0.02, 0.08, NONE, 17), "helps here"),
        (Compared(0.05, 0.02, 0.08, 0.3, 4), "seems to help here; 4 patients are too few for a test"),
        (Compared(0.05, NONE, NONE, NONE, 1), "cannot be judged on so few patients"),
        (Compared(0.0, 0.0, 0.0, 1.0, 12), "identical on every patient"),
        (Compared(-0.5, -0.8, -0.2, 0.01, 17, "hd95_mm"), "helps here"),
    ],
)
def test_verdicts(compared, text):
    assert verdict(compared, HELPS) == text


def sentences(inputs) -> str:
    return " ".join(summary(inputs).blocks[1].items).replace("\u00a0", " ")


def test_a_study_where_adaptation_helps(study):
    text = sentences(study)
    assert "Pretraining with MT-NXent helps here" in text
    assert "Fusion, entropy against the plain average: identical on every patient" in text
    assert "with the same scores, Fusion, entropy" in text
    assert "The change of device costs source only" in text
    assert "Without any target label one would have chosen MIM" in text
    assert "closes" in text


def test_a_study_where_nothing_helps_says_so(make_inputs, make_frames):
    means = {
        "source_only": (0.7, 0.75),
        "mim": (0.7, 0.60),
        "fused_entropy": (0.7, 0.7),
        "target_supervised": (0.7, 0.7),
    }
    inputs = make_inputs(make_frames(means))
    text = sentences(inputs)
    assert "No adaptation did better than training on the source alone" in text
    assert "Pretraining with MIM hurts here" in text
    assert "loses nothing from source" in text
    assert "there is no gap to close" in text
    tile = summary(inputs).blocks[0].items[1]
    assert tile.label.startswith("Target DSC, Fusion, entropy")
    assert tile.tone == "worse"


def test_a_perfect_choice_has_no_price(study):
    perfect = study.regret.assign(regret=0.0)
    assert "also the best of the candidates" in sentences(replace(study, regret=perfect))
    assert "chosen MIM." in sentences(replace(study, regret=None))
