from __future__ import annotations

import numpy as np
import pytest

from crossprobe.phantom.settings import PhantomSettings
from crossprobe.phantom.sweep import plan_sweep


def _plan(site, seed):
    return plan_sweep(PhantomSettings().site(site), "dorsal", np.random.default_rng(seed))


def test_expert_sweeps_steadily():
    steps = np.abs(np.diff(_plan("source", 0).elevation_mm))
    np.testing.assert_allclose(steps, 0.25, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_novice_jitters_within_range(seed):
    plan = _plan("target", seed)
    steps = np.abs(np.diff(plan.elevation_mm))
    assert steps.min() >= 0.1
    assert steps.max() <= 0.8
    assert steps.std() > 0.05
    assert len(np.unique(np.sign(np.diff(plan.elevation_mm)))) == 1


@pytest.mark.parametrize("site", ["source", "target", "unseen"])
def test_plan_fits_its_site(site):
    settings = PhantomSettings().site(site)
    plan = plan_sweep(settings, "dorsal", np.random.default_rng(3))
    assert plan.frames == settings.frames_per_video
    assert settings.probe.depth_mm[0] <= plan.depth_mm <= settings.probe.depth_mm[1]
    assert plan.patch_db.max() <= 0.0


def test_novices_wander_more_than_the_expert():
    def wander(site):
        return np.mean([np.abs(_plan(site, seed).drift_mm).max() for seed in range(20)])

    assert wander("target") > 2 * wander("source")
