from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.phantom.bone import BoneShape, Fracture, bone_surface

SHAPE = BoneShape(
    physis_x=6.0,
    gap=2.0,
    depth=12.0,
    slope=0.0,
    flare=1.0,
    flare_length=6.0,
    cross_radius=20.0,
    epiphysis_length=6.0,
    carpal_length=7.0,
    carpal_drop=1.5,
    phase=0.0,
)
X, Y = np.arange(-20, 30, 0.05), np.arange(-3, 3.1, 0.25)
WHOLE = Fracture("none", 0.0, 10.0, 0.0, 1.5)


def _broken(kind, size, obliquity=0.0):
    return bone_surface(SHAPE, Fracture(kind, size, 10.0, obliquity, 1.5), X, Y)


def test_bones_stand_in_order_with_gaps_between():
    depth, which = bone_surface(SHAPE, WHOLE, X, Y)
    middle = which[len(Y) // 2]
    seen = middle[np.flatnonzero(np.diff(middle, prepend=-1))]
    assert seen.tolist() == [1, 0, 2, 0, 3, 0, 4]
    assert np.array_equal(np.isnan(depth), which == 0)


def test_growth_plate_is_as_wide_as_asked():
    _, which = bone_surface(SHAPE, WHOLE, X, Y)
    row = which[len(Y) // 2]
    last, first = X[row == 1].max(), X[row == 2].min()
    assert first - last == pytest.approx(SHAPE.gap, abs=0.15)


@given(size=st.floats(0.6, 2.5))
def test_step_is_as_high_as_asked(size):
    whole, _ = bone_surface(SHAPE, WHOLE, X, Y)
    depth, _ = _broken("step", size)
    change = (depth - whole)[len(Y) // 2]
    line = np.argmax(change > 0)
    assert X[line] == pytest.approx(SHAPE.physis_x - 10.0, abs=0.3)
    assert change[line] == pytest.approx(size, rel=0.02)
    assert np.all(change[:line] == 0)


@given(size=st.floats(0.6, 2.5))
def test_buckle_bulges_towards_the_probe(size):
    whole, _ = bone_surface(SHAPE, WHOLE, X, Y)
    depth, which = _broken("buckle", size)
    assert np.nanmin(depth - whole) == pytest.approx(-size, rel=0.02)
    assert np.array_equal(which == 0, np.isnan(whole))


@given(size=st.floats(0.6, 2.5))
def test_gap_is_as_wide_as_asked(size):
    _, before = bone_surface(SHAPE, WHOLE, X, Y)
    _, after = _broken("gap", size)
    missing = (before == 1) & (after == 0)
    assert missing[len(Y) // 2].sum() * 0.05 == pytest.approx(size, abs=0.11)


def test_oblique_fracture_moves_with_elevation():
    whole, _ = bone_surface(SHAPE, WHOLE, X, Y)
    depth, _ = _broken("step", 1.5, obliquity=0.3)
    lines = [X[np.argmax((depth - whole)[row] > 0.5)] for row in (0, -1)]
    assert lines[1] - lines[0] == pytest.approx(0.3 * (Y[-1] - Y[0]), abs=0.3)
