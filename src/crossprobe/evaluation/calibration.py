"""Are the probabilities honest? Expected calibration error and Brier score of the pixels of a frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from crossprobe.errors import CrossprobeError


def reliability_bins(probability: np.ndarray, reference: np.ndarray, bins: int = 15) -> np.ndarray:
    """Sorts pixels into equal bins of probability.

    Args:
        probability: Probability of foreground, any shape, 0 to 1.
        reference: Reference mask of 0 and 1, same shape.
        bins: How many bins between 0 and 1; a probability of 1 falls into the last.

    Returns:
        Array [3, bins]: pixels, sum of probabilities, pixels that are foreground. Arrays of several frames
        add up.

    Raises:
        CrossprobeError: The shapes differ or a probability lies outside 0 to 1.
    """
    values = np.asarray(probability, dtype=np.float64).ravel()
    truth = np.asarray(reference, dtype=np.float64).ravel()
    if values.shape != truth.shape:
        raise CrossprobeError(f"{values.size} probabilities against {truth.size} reference pixels")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise CrossprobeError("probabilities must lie between 0 and 1: apply the sigmoid before calibration")
    index = np.minimum((values * bins).astype(np.int64), bins - 1)
    weights = (None, values, truth)
    return np.stack([np.bincount(index, weights=weight, minlength=bins) for weight in weights])


def brier_score(probability: np.ndarray, reference: np.ndarray) -> float:
    """Mean squared gap between the probability and the reference of every pixel, 0 (perfect) to 1.

    Args:
        probability: Probability of foreground, any shape, 0 to 1.
        reference: Reference mask of 0 and 1, same shape.

    Returns:
        The score.
    """
    gap = np.asarray(probability, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return float(np.mean(gap**2))


def reliability_table(
    arm: str, frames: Iterable[tuple[np.ndarray, np.ndarray]], bins: int = 15, site: str = "target"
) -> pd.DataFrame:
    """Pools the pixels of many frames of one arm into the table behind a reliability diagram.

    Args:
        arm: Name of the arm.
        frames: Pairs of probability [H, W] and reference [H, W].
        bins: Equal bins between 0 and 1.
        site: Name of the site the frames come from.

    Returns:
        One row a bin that holds pixels: `arm, site, bin, pixels, stated, observed`.
    """
    total = np.zeros((3, bins))
    for probability, reference in frames:
        total += reliability_bins(probability, reference, bins)
    kept = np.flatnonzero(total[0])
    pixels, stated, observed = total[:, kept]
    columns = {"bin": kept, "pixels": pixels.astype(int), "stated": stated / pixels}
    return pd.DataFrame({"arm": arm, "site": site, **columns, "observed": observed / pixels})
