"""Distances between two clouds of features, and a shuffle test that respects patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.domain_settings import DistanceSettings

Distance = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]
"""Takes features of both sites [n, d] and [m, d] and the patient of each row."""


@dataclass(frozen=True)
class Distances:
    """A distance, and what chance gives where there is no difference.

    Attributes:
        value: The distance.
        chance: Mean of the shuffled distances; NaN where nothing was shuffled.
        chance_high: Below it lies the stated share (such as 95 %) of them.
        p: Share of shuffles as far apart or farther, the observed one counted in.
    """

    value: float
    chance: float
    chance_high: float
    p: float


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared Fréchet distance of the normal distributions with the samples' means and covariances.

    Dowson and Landau, J Multivar Anal 1982; on network features known as FID (Heusel et al., NeurIPS 2017).

    Args:
        one: Features [n, d], n at least 2.
        other: Features [m, d], m at least 2.

    Returns:
        At least 0; the squared length of the shift where the covariances are equal.
    """
    _check(one, other)
    shift = one.mean(axis=0) - other.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (one, other))
    # The root of A B has the trace of the root of sqrt(A) B sqrt(A), which is symmetric and so stays real.
    half = np.real(sqrtm(first))
    middle = np.linalg.eigvalsh(half @ second @ half)
    root = float(np.sqrt(np.maximum(middle, 0)).sum())
    return max(0.0, float(shift @ shift + np.trace(first) + np.trace(second) - 2 * root))


def squared_mmd(one: np.ndarray, other: np.ndarray, bandwidth: float | None = None) -> float:
    """Unbiased squared maximum mean discrepancy under a Gaussian kernel (Gretton et al., JMLR 2012).

    Args:
        one: Features [n, d], n at least 2.
        other: Features [m, d], m at least 2.
        bandwidth: Standard deviation of the kernel; the median distance of all pairs where None.

    Returns:
        About 0, and as often below it, where both come from one distribution; at most 2.
    """
    _check(one, other)
    width = median_distance(np.concatenate([one, other])) if bandwidth is None else bandwidth

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-cdist(first, second, "sqeuclidean") / (2 * width**2)))

    n, m = len(one), len(other)
    within = (kernel(one, one).sum() - n) / (n * (n - 1)) + (kernel(other, other).sum() - m) / (m * (m - 1))
    return float(within - 2 * kernel(one, other).mean())


def median_distance(features: np.ndarray) -> float:
    """Median distance of all pairs, a usual width of the kernel; 1 where all are equal.

    Args:
        features: [n, d].

    Returns:
        Above 0.
    """
    middle = float(np.median(pdist(features)))
    return middle if middle > 0 else 1.0


def proxy_a_distance(
    one: np.ndarray,
    other: np.ndarray,
    one_patients: np.ndarray,
    other_patients: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """Asks how well a linear classifier tells the two apart on patients it has not seen.

    2 (1 - 2 error), with the error balanced over both sites (Ben-David et al., NIPS 2007).

    Args:
        one: Features [n, d].
        other: Features [m, d].
        one_patients: Patient of each row [n].
        other_patients: Patient of each row [m].
        folds: Folds; fewer where a site has fewer patients.
        seed: Of the folds.

    Returns:
        2 where no patient is mistaken, about 0 (or below) where the classifier is at chance.

    Raises:
        CrossprobeError: A site has fewer than two patients.
    """
    _check(one, other)
    patients = _apart(one_patients, other_patients)
    features = np.concatenate([one, other])
    labels = np.repeat([0, 1], [len(one), len(other)])
    fewest = min(len(set(one_patients.tolist())), len(set(other_patients.tolist())))
    if fewest < 2:
        raise CrossprobeError("a proxy A-distance needs two patients a site: one to learn from, one to ask")
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    guesses = np.zeros_like(labels)
    for train, test in splitter.split(features, labels, patients):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=500))
        guesses[test] = model.fit(features[train], labels[train]).predict(features[test])
    error = 1 - balanced_accuracy_score(labels, guesses)
    return float(2 * (1 - 2 * error))


def reduced(one: np.ndarray, other: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Puts features of both sites on one scale: each standardised, then cut to principal components.

    The components are scaled by one number, so that the pooled features have unit variance a component on
    average: distances then do not depend on a network's units.

    Args:
        one: Features [n, d].
        other: Features [m, d].
        components: Most components kept.

    Returns:
        Features [n, k] and [m, k].
    """
    pooled = np.concatenate([one, other]).astype(np.float64)
    scaled = StandardScaler().fit_transform(pooled)
    count = min(components, scaled.shape[1], len(scaled) - 1)
    values = PCA(count, svd_solver="full").fit_transform(scaled)
    size = np.sqrt((values**2).sum(axis=1).mean() / count)
    values = values / size if size > 0 else values
    return values[: len(one)], values[len(one) :]


def against_chance(
    distance: Distance,
    one: np.ndarray,
    other: np.ndarray,
    one_patients: np.ndarray,
    other_patients: np.ndarray,
    settings: DistanceSettings,
) -> Distances:
    """Compares a distance with those after dealing whole patients to the sites at random.

    Args:
        distance: What is measured.
        one: Features [n, d].
        other: Features [m, d].
        one_patients: Patient of each row [n].
        other_patients: Patient of each row [m].
        settings: Number of shuffles and seed.

    Returns:
        The distance and what chance gives.
    """
    value = distance(one, other, one_patients, other_patients)
    if settings.permutations == 0:
        return Distances(value, np.nan, np.nan, np.nan)
    features = np.concatenate([one, other])
    names = _apart(one_patients, other_patients)
    patients, owner = np.unique(names, return_inverse=True)
    count = len(set(one_patients.tolist()))
    generator = np.random.default_rng(settings.seed)
    shuffled = np.empty(settings.permutations)
    for index in range(settings.permutations):
        first = np.isin(owner, generator.permutation(len(patients))[:count])
        shuffled[index] = distance(features[first], features[~first], names[first], names[~first])
    p = (1 + np.count_nonzero(shuffled >= value)) / (1 + len(shuffled))
    high = float(np.quantile(shuffled, settings.confidence))
    return Distances(value, float(shuffled.mean()), high, float(p))


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Names patients of both sites so that none is taken for one of the other."""
    return np.array([f"1/{name}" for name in one] + [f"2/{name}" for name in other])


def _check(one: np.ndarray, other: np.ndarray) -> None:
    for part in (one, other):
        if part.ndim != 2 or len(part) < 2 or part.shape[1] != one.shape[1]:
            raise CrossprobeError(
                "expected two tables of features of one width, with at least two rows each, got "
                f"{one.shape} and {other.shape}"
            )
