from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.phantom import presets
from crossprobe.phantom.annotation import SurfaceLine, band_mask, drawn_mask, steady_hand, true_mask
from crossprobe.phantom.settings import AnatomySettings, AnnotatorSettings

ANATOMY = AnatomySettings()
EXPERT = AnnotatorSettings(**presets.ANNOTATORS["expert"])
NOVICE = AnnotatorSettings(**presets.ANNOTATORS["novice"])
SPACING, HEIGHT, WIDTH = 0.1, 200, 300
EXACT = EXPERT.model_copy(
    update={"wobble_mm": 0.0, "shift_sd_mm": 0.0, "thickness_sd": 0.0, "smoothing_mm": 0.0}
)


def _line(depth_mm=10.0, hole=slice(140, 155)):
    depth = np.full(WIDTH, depth_mm) + 0.5 * np.sin(np.arange(WIDTH) / 40)
    which = np.ones(WIDTH, np.int8)
    which[hole.stop :] = 2
    depth[hole], which[hole] = np.nan, 0
    return SurfaceLine(depth, which, SPACING)


def _draw(annotator, seed, line=None):
    random = np.random.default_rng(seed)
    hand = steady_hand(annotator, random)
    return drawn_mask(line or _line(), ANATOMY, annotator, HEIGHT, hand, random)


def _dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@given(depth=st.floats(3.0, 15.0), above=st.floats(0.2, 2.0), below=st.floats(0.2, 2.0))
def test_band_is_as_thick_as_asked_and_lies_on_the_surface(depth, above, below):
    mask = band_mask(SurfaceLine(np.full(20, depth), np.ones(20, np.int8), SPACING), above, below, HEIGHT)
    rows = np.flatnonzero(mask[:, 0])
    assert len(rows) * SPACING == pytest.approx(above + below, abs=1.01 * SPACING)
    assert (rows[0] + 0.5) * SPACING == pytest.approx(depth - above, abs=1.01 * SPACING)


def test_no_bone_no_band():
    line = SurfaceLine(np.full(20, np.nan), np.zeros(20, np.int8), SPACING)
    assert true_mask(line, ANATOMY, HEIGHT).sum() == 0
    assert _draw(NOVICE, 0, line).sum() == 0


def test_an_annotator_without_faults_draws_the_truth():
    assert np.array_equal(_draw(EXACT, 0), true_mask(_line(), ANATOMY, HEIGHT))


def test_expert_agrees_better_than_novice():
    truth = true_mask(_line(), ANATOMY, HEIGHT)
    expert = np.mean([_dice(_draw(EXPERT, seed), truth) for seed in range(20)])
    novice = np.mean([_dice(_draw(NOVICE, seed), truth) for seed in range(20)])
    assert 0.86 < expert < 0.97
    assert 0.65 < novice < expert - 0.07


def test_novice_draws_deeper_and_thicker():
    truth = true_mask(_line(), ANATOMY, HEIGHT)

    def centre(mask):
        return np.flatnonzero(mask[:, 40]).mean() * SPACING

    masks = [_draw(NOVICE, seed) for seed in range(60)]
    assert np.mean([centre(mask) - centre(truth) for mask in masks]) == pytest.approx(
        NOVICE.shift_mm, abs=0.08
    )
    thickness = np.mean([mask[:, 40].sum() for mask in masks]) / truth[:, 40].sum()
    assert thickness == pytest.approx(NOVICE.thickness, rel=0.08)


def test_novice_leaves_ends_off():
    trimmed = EXACT.model_copy(update={"end_trim_mm": 1.0})
    mask = _draw(trimmed, 0)
    truth = true_mask(_line(), ANATOMY, HEIGHT)
    columns = truth.any(axis=0) & ~mask.any(axis=0)
    # Both banks of the hole, never the image border.
    assert columns.sum() == 20
    assert not columns[:100].any()
    assert not columns[-100:].any()


def test_missed_bones_are_never_the_radius():
    careless = EXACT.model_copy(update={"missed_bone": 1.0})
    mask = _draw(careless, 0)
    assert mask[:, :140].any()
    assert not mask[:, 160:].any()
