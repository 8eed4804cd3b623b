"""Speckle, grain and grey levels against fields whose numbers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.evaluation.domain_settings import TextureSettings
from crossprobe.evaluation.frame_texture import (
    MEASURES,
    envelope,
    frame_texture,
    speckle_statistics,
    spectra,
)

SETTINGS = TextureSettings()


def rayleigh(shape=(300, 300), seed=0):
    generator = np.random.default_rng(seed)
    return np.hypot(generator.standard_normal(shape), generator.standard_normal(shape))


def test_fully_developed_speckle():
    """Rayleigh amplitude: mean / deviation is sqrt(pi / (4 - pi)) = 1.91, and Nakagami's parameter is 1."""
    found = speckle_statistics(rayleigh(), np.ones((300, 300), bool), 61)
    assert found["speckle_snr"] == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02)
    assert found["nakagami"] == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("parameter", [0.6, 2.0, 4.0])
def test_nakagami_is_recovered(parameter):
    intensity = np.random.default_rng(1).gamma(parameter, 1 / parameter, (300, 300))
    found = speckle_statistics(np.sqrt(intensity), np.ones((300, 300), bool), 61)
    assert found["nakagami"] == pytest.approx(parameter, rel=0.06)


def test_only_tissue_counts():
    amplitude = rayleigh()
    tissue = np.ones((300, 300), bool)
    tissue[:, :150] = False
    spoilt = amplitude.copy()
    spoilt[:, :150] *= np.random.default_rng(2).random((300, 150)) * 50
    expected = speckle_statistics(amplitude, tissue, 31)
    assert speckle_statistics(spoilt, tissue, 31) == pytest.approx(expected, rel=1e-6)


def test_no_tissue_gives_no_number():
    found = frame_texture(np.zeros((40, 50), np.uint8), SETTINGS)
    assert list(found.measures) == list(MEASURES)
    assert np.isnan(found.measures["mean_level"])
    assert np.isnan(found.measures["nakagami"])
    assert found.measures["dark_share"] == 1
    assert not found.axial.any()


def test_the_logarithm_is_undone():
    """Amplitude through a 60 dB display and back, to within the rounding of its levels."""
    amplitude = np.clip(rayleigh() / 4, 10**-3, 1)
    frame = np.rint(255 * (1 + 20 * np.log10(amplitude) / 60)).astype(np.uint8)
    assert np.abs(np.log10(envelope(frame, 60)) - np.log10(amplitude)).max() < 0.0061
    found = speckle_statistics(envelope(frame, 60), np.ones_like(frame, bool), 61)
    assert found["speckle_snr"] == pytest.approx(1.91, rel=0.05)


def test_grey_levels_are_counted():
    frame = np.full((50, 40), 100, np.uint8)
    frame[:25] = 200
    frame[:, :4] = 0
    found = frame_texture(frame, SETTINGS)
    assert found.histogram[[0, 100, 200]] == pytest.approx([0.1, 0.45, 0.45])
    assert found.measures["mean_level"] == pytest.approx(150)
    assert found.measures["deviation_levels"] == pytest.approx(50)
    assert found.measures["dark_share"] == pytest.approx(0.1)


def test_a_wave_stands_in_its_own_bin_and_direction():
    rows = np.arange(128)[:, None] * np.ones((1, 96))
    frame = np.rint(120 + 80 * np.sin(2 * np.pi * 0.25 * rows)).astype(np.uint8)
    axial, lateral = spectra(frame, TextureSettings(frequencies=33))
    assert axial.argmax() == 16, "bin 16 of 32 is a quarter of a cycle a pixel"
    assert lateral.argmax() <= 1
    assert axial.mean() == pytest.approx(1)


def test_coarser_grain_is_longer_in_its_direction():
    noise = np.random.default_rng(0).random((200, 200)).astype(np.float32)
    fine, wide = cv2.GaussianBlur(noise, (0, 0), 1), cv2.GaussianBlur(noise, (0, 0), sigmaX=3, sigmaY=1)
    grains = [
        frame_texture(np.clip(100 + 600 * (field - 0.5), 9, 255).astype(np.uint8), SETTINGS).measures
        for field in (fine, wide)
    ]
    assert grains[1]["lateral_grain_px"] > 1.3 * grains[0]["lateral_grain_px"]
    assert grains[1]["axial_grain_px"] < 1.2 * grains[0]["axial_grain_px"]


def test_local_contrast_is_the_deviation_in_windows():
    noise = np.random.default_rng(0).normal(0, 12, (200, 200))
    ramp = np.linspace(60, 180, 200)[None, :]
    found = frame_texture(np.clip(ramp + noise, 0, 255).astype(np.uint8), TextureSettings(window_px=15))
    assert found.measures["local_contrast"] == pytest.approx(12, rel=0.1), "the ramp is not contrast"
