"""Temperatures that are known, found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.temperature import (
    TemperatureSettings,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    sample_pixels,
)


def miscalibrated(temperature: float, bias: float = 0.0, count: int = 60_000, seed: int = 0):
    """Labels drawn from the true logits; the branch reports them times `temperature`, shifted."""
    generator = np.random.default_rng(seed)
    true_logits = generator.normal(-1.0, 2.0, count)
    labels = (generator.random(count) < expit(true_logits)).astype(np.uint8)
    return (true_logits - bias) * temperature, labels


def test_as_many_pixels_of_every_frame():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(7, 12, 12))
    targets = np.arange(7)[:, None, None] + 100 * (logits > 0)
    kept, of_frame = sample_pixels(zip(logits, targets, strict=True), 7, 70)
    assert np.bincount(of_frame % 100).tolist() == [10] * 7
    assert ((of_frame >= 100) == (kept > 0)).all(), "a pixel keeps its own label"
    again = sample_pixels(zip(logits, targets, strict=True), 7, 70)
    other = sample_pixels(zip(logits, targets, strict=True), 7, 70, seed=1)
    assert np.array_equal(kept, again[0])
    assert not np.array_equal(kept, other[0])
    everything = sample_pixels(zip(logits, targets, strict=True), 7, 7 * 144)
    assert np.array_equal(everything[0], logits.ravel())
    assert np.array_equal(everything[1], targets.ravel())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found(temperature):
    fit = fit_temperature(*miscalibrated(temperature))
    assert fit.temperature == pytest.approx(temperature, rel=0.03)
    assert fit.bias == 0.0
    assert fit.nll_after <= fit.nll_before
    assert fit.ece_after < 0.01
    assert not fit.at_bound
    if temperature != 1.0:
        assert fit.ece_after < fit.ece_before / 2


def test_a_known_bias_is_found():
    logits, labels = miscalibrated(3.0, bias=0.8)
    both = fit_temperature(logits, labels, TemperatureSettings(bias=True))
    assert both.temperature == pytest.approx(3.0, rel=0.03)
    assert both.bias == pytest.approx(0.8, abs=0.05)
    assert both.nll_after < fit_temperature(logits, labels).nll_after
    calibrated = both.apply(logits)
    assert negative_log_likelihood(calibrated, labels) == pytest.approx(both.nll_after, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(temperature=st.floats(0.2, 5.0), seed=st.integers(0, 100))
def test_no_other_temperature_is_likelier(temperature, seed):
    logits, labels = miscalibrated(temperature, count=2_000, seed=seed)
    fit = fit_temperature(logits, labels)
    for other in fit.temperature * np.array([0.5, 0.98, 1.02, 2.0]):
        assert fit.nll_after <= negative_log_likelihood(logits / other, labels) + 1e-12


def test_the_shape_does_not_matter_and_a_temperature_keeps_the_mask():
    logits, labels = miscalibrated(2.0, count=1_024)
    fit = fit_temperature(logits.reshape(4, 1, 16, 16), labels.reshape(4, 1, 16, 16))
    assert fit == fit_temperature(logits, labels)
    tensor = torch.from_numpy(logits)
    assert torch.equal(fit.apply(tensor) >= 0, tensor >= 0)


def test_a_sample_of_pixels_does():
    logits, labels = miscalibrated(2.0)
    fit = fit_temperature(logits, labels, TemperatureSettings(maximum_pixels=20_000), seed=3)
    assert fit.pixels == 20_000
    assert fit.temperature == pytest.approx(2.0, rel=0.06)
    assert fit == fit_temperature(logits, labels, TemperatureSettings(maximum_pixels=20_000), seed=3)


def test_perfect_separation_ends_at_the_bound_and_says_so():
    logits = np.linspace(-3, 3, 200)
    fit = fit_temperature(logits, (logits > 0).astype(int))
    assert fit.at_bound
    assert fit.temperature == pytest.approx(TemperatureSettings().smallest)


def test_calibration_error_by_hand():
    probabilities = np.array([0.1, 0.15, 0.9, 1.0])
    targets = np.array([0, 1, 1, 1])
    # Ten bins: 0.1 and 0.15 share one (|0.25 - 1|), 0.9 and 1.0 another (|1.9 - 2|).
    assert expected_calibration_error(probabilities, targets, 10) == pytest.approx((0.75 + 0.1) / 4)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (np.zeros(3), np.zeros(4), "same shape"),
        (np.array([0.0, np.nan]), np.array([0, 1]), "NaN"),
        (np.array([0.0, 1.0]), np.array([0, 2]), "0 or 1"),
        (np.array([0.0, 1.0]), np.array([0, 0]), "one class only"),
        (np.array([]), np.array([]), "one class only"),
    ],
)
def test_what_cannot_be_fitted_is_said(logits, targets, message):
    with pytest.raises(CrossprobeError, match=message):
        fit_temperature(logits, targets)
