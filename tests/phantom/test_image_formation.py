from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.phantom.image_formation import compress, look_angles, spread
from crossprobe.phantom.settings import PhantomSettings
from crossprobe.phantom.tissue import axial_sigma_mm

PROBE = PhantomSettings().source.probe


def _inner(envelope: np.ndarray) -> np.ndarray:
    rows, columns = envelope.shape
    return envelope[rows // 6 : -rows // 6, columns // 6 : -columns // 6]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _lateral_width(envelope: np.ndarray, lag: int = 2) -> float:
    """Autocorrelation of intensity at a lag, turned into the sigma of a Gaussian point spread, in samples."""
    intensity = envelope**2
    rho = _correlation(intensity[:, lag:], intensity[:, :-lag])
    return lag / np.sqrt(-2 * np.log(max(rho, 1e-3)))


def test_envelope_of_uniform_tissue_is_rayleigh(former, plain_probe):
    envelope = _inner(former(plain_probe).envelope(0, np.random.default_rng(1)))
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.10)
    assert np.mean(envelope**2) == pytest.approx(1.0, rel=0.15)


def test_compounding_smooths_speckle(former, plain_probe):
    compounded = plain_probe.model_copy(update={"compounding": 3, "compounding_span_deg": 16.0})
    envelope = _inner(former(compounded).envelope(0, np.random.default_rng(1)))
    # Three independent looks would give 1.91 * sqrt(3) = 3.3.
    assert 2.7 < envelope.mean() / envelope.std() < 3.5


def test_speckle_decorrelates_with_elevation_as_a_gaussian_beam_says(former, plain_probe):
    sigma = plain_probe.elevation_sigma_mm
    steps = np.array([0.0, 0.4, 0.8, 1.6, 4.0]) * sigma
    plain_probe = plain_probe.model_copy(update={"depth_of_field_mm": 80.0})
    images = former(plain_probe, tuple(steps))
    frames = [
        _inner(images.envelope(index, np.random.default_rng(index))) ** 2 for index in range(len(steps))
    ]
    measured = [_correlation(frames[0], frame) for frame in frames]
    assert np.all(np.diff(measured) < 0)
    # Intensity correlation is the squared field correlation exp(-d^2 / 4 sigma^2) of two Gaussian slices.
    np.testing.assert_allclose(measured, np.exp(-((steps / sigma) ** 2) / 2), atol=0.08)


def test_lateral_resolution_is_best_at_the_focus(former, plain_probe):
    probe = plain_probe.model_copy(update={"focus_mm": 6.0, "depth_of_field_mm": 5.0})
    images = former(probe)
    envelope = images.envelope(0, np.random.default_rng(3))
    widths = []
    for depth in (6.0, 13.0, 20.0):
        rows = np.abs(images.grid.z - depth) < 2.0
        expected = spread(probe.lateral_sigma_mm, probe, np.array(depth)) / images.grid.step_x
        widths.append(_lateral_width(envelope[rows]))
        assert widths[-1] == pytest.approx(float(expected), rel=0.3)
    assert widths[0] < widths[1] < widths[2]


def test_flat_bone_in_focus_reaches_full_scale_and_shadows(former, plain_probe):
    probe = plain_probe.model_copy(update={"focus_mm": 10.0, "reverberation_db": -80.0})
    alone = former(probe, bone_mm=10.0, tissue=False)
    envelope = alone.envelope(0, np.random.default_rng(0))
    peak = envelope[:, 20:-20].max(axis=0)
    assert 20 * np.log10(np.median(peak)) == pytest.approx(0.0, abs=2.0)
    depth = alone.grid.z[envelope[:, 20:-20].argmax(axis=0)]
    assert np.median(depth) == pytest.approx(10.0, abs=0.2)
    tissue = former(probe, bone_mm=10.0)
    image = tissue.envelope(0, np.random.default_rng(0))
    above, below = tissue.grid.z < 8.0, (tissue.grid.z > 13.0)
    fall = 20 * np.log10(image[below][:, 20:-20].mean() / image[above][:, 20:-20].mean())
    assert fall == pytest.approx(probe.shadow_db, abs=4.0)


def test_bone_multiple_lies_at_twice_the_depth(former, plain_probe):
    images = former(plain_probe.model_copy(update={"reverberation_db": -15.0}), bone_mm=9.0, tissue=False)
    profile = images.envelope(0, np.random.default_rng(0))[:, 20:-20].mean(axis=1)
    deep = images.grid.z > 14.0
    assert images.grid.z[deep][profile[deep].argmax()] == pytest.approx(18.0, abs=0.5)


def test_oblique_bone_answers_less(former, plain_probe):
    from crossprobe.phantom.anatomy import interface

    peaks = []
    for degrees in (0.0, 8.0, 16.0):
        images = former(plain_probe, bone_mm=12.0, tissue=False)
        tilted = images.bone.depth + np.tan(np.deg2rad(degrees)) * images.anatomy.x[None, :]
        images.bone = interface(tilted, 0.0)
        peaks.append(images.envelope(0, np.random.default_rng(0)).max(axis=0)[20:-20].mean())
    assert peaks[0] > peaks[1] > peaks[2]


def test_axial_sigma_follows_bandwidth():
    # 8.5 MHz at 65 %: spectrum sigma 2.346 MHz, envelope sigma 67.8 ns, 52 um of depth after halving.
    assert axial_sigma_mm(PROBE) == pytest.approx(0.0522, abs=2e-4)


def test_one_look_points_straight_down_and_looks_are_symmetric():
    assert look_angles(PROBE.model_copy(update={"compounding": 1})).tolist() == [0.0]
    angles = look_angles(PROBE)
    np.testing.assert_allclose(angles, -angles[::-1])


@given(level=st.floats(-70, 10), step=st.floats(0.5, 20))
def test_compression_is_monotone_and_bounded(level, step):
    probe = PROBE.model_copy(update={"speckle_filter": 0.0})
    grey = compress(10 ** (np.array([[level, level + step]], np.float32) / 20), probe)
    assert 0.0 <= grey.min() <= grey.max() <= 1.0
    assert grey[0, 0] <= grey[0, 1]
