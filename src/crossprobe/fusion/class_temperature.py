"""One temperature for a classifier, fitted on validation labels of the site it learned from.

Guo et al., "On calibration of modern neural networks", ICML 2017. It changes how sure an answer is, never
which class it names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from crossprobe.errors import CrossprobeError

SMALLEST, LARGEST = 0.05, 20.0


@dataclass(frozen=True)
class ClassTemperature:
    """Calibrated logits = logits / temperature, and what that did on the data it was fitted on.

    Attributes:
        temperature: Above 1 where the classifier was too sure.
        nll_before: Mean negative log-likelihood of an image in nats.
        nll_after: The same after calibration; never larger.
        images: How many images were used.
        at_bound: Whether a bound stopped the fit: the data do not determine a temperature.
    """

    temperature: float
    nll_before: float
    nll_after: float
    images: int
    at_bound: bool


def fit_class_temperature(logits: np.ndarray, labels: np.ndarray) -> ClassTemperature:
    """Finds the temperature under which the labels are likeliest.

    The likelihood is convex in the inverse temperature, so there is one answer.

    Args:
        logits: [N, classes], of images that the classifier was not trained on.
        labels: Class numbers [N].

    Returns:
        The fit.

    Raises:
        CrossprobeError: There are no images, shapes differ, or a logit is not finite.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if not len(labels) or logits.shape[:1] != labels.shape:
        raise CrossprobeError(
            f"a temperature needs as many labels as logits, got {labels.shape}, {logits.shape}"
        )
    if not np.isfinite(logits).all():
        raise CrossprobeError("a temperature cannot be fitted to logits that are NaN or infinite")

    def loss(inverse: float) -> float:
        return float(-log_softmax(inverse * logits, axis=1)[np.arange(len(labels)), labels].mean())

    bounds = (1 / LARGEST, 1 / SMALLEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    # The bounded search never touches its ends, where a separable validation set sends it.
    inverse = min((*bounds, 1.0, float(found.x)), key=loss)
    at_bound = bool(np.isclose(inverse, bounds, rtol=1e-4).any())
    return ClassTemperature(1 / inverse, loss(1.0), loss(inverse), len(labels), at_bound)
