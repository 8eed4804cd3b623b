from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.phantom.display import empty_screen, lay_out, show
from crossprobe.phantom.settings import PhantomSettings
from crossprobe.phantom.sweep import plan_sweep

SITES = ("source", "target", "unseen")


def _screen(site, height=320, width=400):
    settings = PhantomSettings().site(site)
    plan = plan_sweep(settings, "dorsal", np.random.default_rng(0))
    screen = lay_out(settings.probe, plan.depth_mm, height, width)
    return settings.probe, screen, empty_screen(settings.probe, plan, screen)


@pytest.mark.parametrize("site", SITES)
@given(depth=st.floats(20, 50), height=st.integers(200, 900), width=st.integers(250, 1200))
def test_the_image_fits_and_pixels_are_square(site, depth, height, width):
    probe = PhantomSettings().site(site).probe
    screen = lay_out(probe, depth, height, width)
    assert 0 <= screen.top < screen.top + screen.height <= height
    assert 0 <= screen.left < screen.left + screen.width <= width
    assert screen.height * screen.spacing_mm == pytest.approx(depth, abs=1.001 * screen.spacing_mm)
    assert screen.width * screen.spacing_mm == pytest.approx(probe.width_mm, abs=1.001 * screen.spacing_mm)


@pytest.mark.parametrize("site", SITES)
def test_the_vendor_writes_beside_the_image_only(site):
    _, screen, canvas = _screen(site)
    area = canvas[screen.top : screen.top + screen.height, screen.left : screen.left + screen.width]
    assert area.max() == 0
    assert (canvas > 90).sum() > 200


def test_screens_differ_by_vendor():
    canvases = [_screen(site)[2] for site in SITES]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (canvases[first] != canvases[second]).mean() > 0.01


@pytest.mark.parametrize("site", SITES)
def test_one_mark_over_the_image_and_the_rest_untouched(site):
    probe, screen, canvas = _screen(site)
    grey = np.full((400, 150), 0.5, np.float32)
    before = canvas.copy()
    shown = show(canvas, grey, probe, screen, 3)
    assert np.array_equal(canvas, before)
    area = shown[screen.top : screen.top + screen.height, screen.left : screen.left + screen.width]
    assert 0 < (np.abs(area.astype(int) - 128) > 3).mean() < 0.01


@pytest.mark.parametrize(("height", "width"), [(320, 400), (640, 800)])
def test_the_canvas_has_the_asked_size(height, width):
    assert _screen("target", height, width)[2].shape == (height, width)
