"""Distances against closed forms: equal samples give nothing, shifted normals what the formula says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.domain_settings import DistanceSettings
from crossprobe.evaluation.feature_distance import (
    against_chance,
    frechet_distance,
    median_distance,
    proxy_a_distance,
    reduced,
    squared_mmd,
)


def normal(count: int, width: int = 3, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    values = scale * np.random.default_rng(seed).standard_normal((count, width))
    values[:, 0] += shift
    return values


def people(count: int, rows_each: int = 1) -> np.ndarray:
    return np.repeat([f"p{number}" for number in range(count)], rows_each)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (2.0, 1.0), (0.0, 2.0), (1.0, 0.5)])
def test_frechet_of_normals(shift, scale):
    """|shift|^2 + d (1 - scale)^2 for covariances 1 and scale^2."""
    one, other = normal(200_000, seed=1), normal(200_000, shift=shift, scale=scale, seed=2)
    assert frechet_distance(one, other) == pytest.approx(shift**2 + 3 * (1 - scale) ** 2, abs=0.02)


def test_frechet_of_correlated_normals():
    """The trace of the root, by the eigenvalues of the product of the covariances."""
    generator = np.random.default_rng(3)
    first, second = (generator.standard_normal((4, 4)) for _ in range(2))
    one, other = normal(200_000, 4, seed=4) @ first, normal(200_000, 4, seed=5) @ second
    a, b = first.T @ first, second.T @ second
    root = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()
    assert frechet_distance(one, other) == pytest.approx(np.trace(a) + np.trace(b) - 2 * root, rel=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 10**6))
def test_frechet_of_a_sample_to_itself_is_zero_and_a_pure_shift_is_its_square(count, width, seed):
    one = normal(count, width, seed=seed)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + 3) == pytest.approx(9 * width, rel=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_mmd_of_shifted_normals(shift):
    """Gretton et al.: 2 (w / (w + 2))^(d/2) (1 - exp(-shift^2 / (2 (w + 2)))), w the squared bandwidth."""
    bandwidth, width = 1.7, 3
    one, other = normal(2500, seed=1), normal(2500, shift=shift, seed=2)
    w = bandwidth**2
    expected = 2 * (w / (w + 2)) ** (width / 2) * (1 - np.exp(-(shift**2) / (2 * (w + 2))))
    assert squared_mmd(one, other, bandwidth) == pytest.approx(expected, abs=0.004)


def test_mmd_of_one_distribution_lies_on_both_sides_of_zero():
    values = [squared_mmd(normal(60, seed=2 * n), normal(60, seed=2 * n + 1)) for n in range(40)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 0.004


def test_mmd_is_the_slow_double_sum():
    one, other = normal(5, seed=1), normal(7, shift=1, seed=2)

    def k(x, y):
        return np.exp(-((x - y) ** 2).sum() / (2 * 1.3**2))

    slow = sum(k(x, y) for i, x in enumerate(one) for j, y in enumerate(one) if i != j) / 20
    slow += sum(k(x, y) for i, x in enumerate(other) for j, y in enumerate(other) if i != j) / 42
    slow -= 2 * sum(k(x, y) for x in one for y in other) / 35
    assert squared_mmd(one, other, 1.3) == pytest.approx(slow)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_proxy_a_distance_of_shifted_normals(shift):
    """The best error of two normals is that of half the shift: 2 (1 - 2 P(z > shift / 2))."""
    one, other = normal(3000, seed=1), normal(3000, shift=shift, seed=2)
    found = proxy_a_distance(one, other, people(3000), people(3000))
    assert found == pytest.approx(2 * (1 - 2 * norm.sf(shift / 2)), abs=0.08)


def test_apart_is_two():
    one, other = normal(40, seed=1), normal(40, shift=30, seed=2)
    assert proxy_a_distance(one, other, people(40), people(40)) == 2


def test_unequal_sites_do_not_make_a_distance():
    one, other = normal(900, seed=1), normal(60, seed=2)
    assert abs(proxy_a_distance(one, other, people(900), people(60))) < 0.35


def test_a_patient_is_never_learnt_and_asked():
    """Frames of a patient lie on one spot, so a split by frame would call any two sites apart."""
    generator = np.random.default_rng(0)
    spots = 5 * generator.standard_normal((24, 40))
    frames = np.repeat(spots, 10, axis=0) + 0.01 * generator.standard_normal((240, 40))
    by_patient = proxy_a_distance(frames[:120], frames[120:], people(12, 10), people(12, 10))
    by_frame = proxy_a_distance(frames[:120], frames[120:], people(120), people(120))
    assert by_frame > 1.9
    assert by_patient < 1


def test_one_patient_a_site_is_refused():
    with pytest.raises(CrossprobeError, match="needs two patients a site"):
        proxy_a_distance(normal(4), normal(4), people(1, 4), people(2, 2))


@pytest.mark.parametrize("shape", [(1, 3), (4, 2), (4,)])
def test_tables_that_do_not_fit_are_refused(shape):
    with pytest.raises(CrossprobeError, match="two tables of features"):
        frechet_distance(normal(4), np.zeros(shape))


def test_features_are_put_on_one_scale():
    one, other = normal(50, 6, seed=1) * [1, 10, 100, 1000, 1e4, 0], normal(40, 6, seed=2)
    first, second = reduced(one, other, 4)
    assert first.shape == (50, 4)
    assert second.shape == (40, 4)
    pooled = np.concatenate([first, second])
    assert (pooled**2).sum(axis=1).mean() == pytest.approx(4)
    again = reduced(one * 7, other * 7, 4)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(*again))


def test_equal_features_pass():
    first, second = reduced(np.ones((4, 3)), np.ones((5, 3)), 2)
    assert not first.any()
    assert median_distance(np.concatenate([first, second])) == 1


def test_shuffles_move_whole_patients():
    """Two patients a site, five rows each: a site never holds part of a patient."""
    one, other = normal(10, 1, seed=1), normal(10, 1, seed=2)
    seen = []

    def look(a, b, p, q):
        seen.append((set(p), set(q)))
        return 0.0

    against_chance(look, one, other, people(2, 5), people(2, 5), DistanceSettings(permutations=20))
    for first, second in seen[1:]:
        assert len(first) == len(second) == 2
        assert not first & second


def test_chance_is_told_from_a_difference():
    chosen = DistanceSettings(permutations=60)

    def shift(a, b, p, q):
        return frechet_distance(a, b)

    alike = against_chance(shift, normal(40, seed=1), normal(40, seed=2), people(40), people(40), chosen)
    apart = against_chance(
        shift, normal(40, seed=1), normal(40, shift=2, seed=2), people(40), people(40), chosen
    )
    assert alike.p > 0.05
    assert alike.value < alike.chance_high
    assert apart.p == pytest.approx(1 / 61)
    assert apart.value > 5 * apart.chance_high
