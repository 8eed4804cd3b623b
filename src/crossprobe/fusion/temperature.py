"""One temperature a branch, fitted on the source's validation set, so that branches speak the same language.

After Guo et al., "On calibration of modern neural networks" (ICML 2017). A temperature leaves each branch's
own mask as it is; what changes is how much its probabilities weigh beside another branch's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize
from scipy.special import expit

from crossprobe.errors import CrossprobeError


class TemperatureSettings(BaseModel):
    """What is fitted, on how many pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: bool = Field(
        False, description="Fit an offset of the logits too; this can change a branch's own mask"
    )
    smallest: float = Field(0.05, gt=0.0, le=1.0, description="Lower bound of the temperature")
    largest: float = Field(20.0, ge=1.0, description="Upper bound of the temperature")
    maximum_pixels: int = Field(2_000_000, ge=100, description="Pixels used at most, an even random sample")
    bins: int = Field(15, ge=1, description="Bins of the calibration error")


@dataclass(frozen=True)
class TemperatureFit:
    """Calibrated logit = logit / temperature + bias, and what that did on the data it was fitted on.

    Attributes:
        temperature: Above 1 where the branch was too sure, below 1 where it was not sure enough.
        bias: 0 unless it was asked for.
        nll_before: Mean negative log-likelihood of a pixel in nats.
        nll_after: The same after calibration; never larger.
        ece_before: Expected calibration error of the foreground probability, in [0, 1].
        ece_after: The same after calibration.
        pixels: How many pixels were used.
        at_bound: Whether a bound of the settings stopped the fit: the data do not determine a temperature.
    """

    temperature: float
    bias: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    pixels: int
    at_bound: bool

    def apply(self, logits):
        """Calibrates logits.

        Args:
            logits: A torch tensor or numpy array of any shape.

        Returns:
            The same kind and shape.
        """
        return logits / self.temperature + self.bias


def fit_temperature(
    logits: np.ndarray, targets: np.ndarray, settings: TemperatureSettings | None = None, seed: int = 0
) -> TemperatureFit:
    """Finds the temperature (and bias) under which the labels are likeliest.

    The likelihood is convex in the inverse temperature and the bias, so there is one answer.

    Args:
        logits: Any shape, of pixels that the branch was not trained on.
        targets: Same shape, 0 or 1.
        settings: What to fit; the defaults if None.
        seed: Chooses the sample of pixels where there are more than the settings allow.

    Returns:
        The fit and its effect.

    Raises:
        CrossprobeError: If shapes differ, a logit is not finite, or only one class is there.
    """
    settings = settings or TemperatureSettings()
    x, y = _sample(np.asarray(logits), np.asarray(targets), settings.maximum_pixels, seed)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        residual = expit(parameters[0] * x + parameters[1]) - y
        slope = np.array([np.mean(residual * x), np.mean(residual)])
        return negative_log_likelihood(parameters[0] * x + parameters[1], y), slope

    inverse_bounds = (1.0 / settings.largest, 1.0 / settings.smallest)
    bounds = [inverse_bounds, (None, None) if settings.bias else (0.0, 0.0)]
    # ftol: likelihoods of calibrated pixels differ far behind the comma.
    found = minimize(
        objective, [1.0, 0.0], jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-14}
    )
    inverse, bias = float(found.x[0]), float(found.x[1])
    after = inverse * x + bias
    return TemperatureFit(
        temperature=1.0 / inverse,
        bias=bias,
        nll_before=negative_log_likelihood(x, y),
        nll_after=negative_log_likelihood(after, y),
        ece_before=expected_calibration_error(expit(x), y, settings.bins),
        ece_after=expected_calibration_error(expit(after), y, settings.bins),
        pixels=x.size,
        at_bound=bool(np.isclose(inverse, inverse_bounds).any()),
    )


def sample_pixels(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], count: int, most: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Keeps as many pixels of every frame, so that no more than those are ever held.

    Args:
        frames: Logits and targets of one frame after the other, alike in shape.
        count: How many frames there are.
        most: Pixels kept at most, though at least one a frame.
        seed: Chooses them, together with the frame's place; all are kept where there are no more than `most`.

    Returns:
        Logits and targets, flat, for `fit_temperature`.
    """
    quota = max(1, most // max(1, count))
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for place, (logits, targets) in enumerate(frames):
        x, y = logits.reshape(-1), targets.reshape(-1)
        if x.size > quota:
            generator = np.random.default_rng([seed, place])
            chosen = generator.choice(x.size, size=quota, replace=False, shuffle=False)
            x, y = x[chosen], y[chosen]
        # Copies: a view would hold the whole batch.
        kept.append((x.copy(), y.copy()))
    if not kept:
        return np.empty(0, np.float32), np.empty(0, np.uint8)
    return np.concatenate([x for x, _ in kept]), np.concatenate([y for _, y in kept])


def _sample(logits: np.ndarray, targets: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as flat float64, checked, at most so many of them."""
    if logits.shape != targets.shape:
        raise CrossprobeError(f"logits {logits.shape} and targets {targets.shape} must have the same shape")
    x, y = logits.reshape(-1), targets.reshape(-1)
    if x.size > most:
        chosen = np.random.default_rng(seed).choice(x.size, size=most, replace=False, shuffle=False)
        x, y = x[chosen], y[chosen]
    x, y = x.astype(np.float64), y.astype(np.float64)
    if not np.isfinite(x).all():
        raise CrossprobeError("a temperature cannot be fitted to logits that are NaN or infinite")
    if not np.isin(y, (0.0, 1.0)).all():
        raise CrossprobeError("targets must be 0 or 1")
    if y.size == 0 or y.min() == y.max():
        raise CrossprobeError(
            "a temperature needs foreground and background pixels; the validation labels hold one class only"
        )
    return x, y


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean binary cross-entropy from logits, in nats.

    Args:
        logits: Any shape.
        targets: Same shape, 0 or 1.

    Returns:
        0 or more.
    """
    return float(np.mean(np.logaddexp(0.0, logits) - targets * logits))


def expected_calibration_error(probabilities: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """How far the foreground probability lies from the share of foreground, averaged over pixels.

    Pixels are put into equally wide bins of probability (Naeini et al., AAAI 2015). Most pixels of a thin
    structure are easy background, so the figure is small: compare it before and after, not across tasks.

    Args:
        probabilities: Any shape, in [0, 1].
        targets: Same shape, 0 or 1.
        bins: How many.

    Returns:
        In [0, 1]; 0 is calibrated.
    """
    probability, target = np.ravel(probabilities).astype(np.float64), np.ravel(targets).astype(np.float64)
    which = np.minimum((probability * bins).astype(np.int64), bins - 1)
    surplus = np.bincount(which, weights=probability - target, minlength=bins)
    return float(np.abs(surplus).sum() / probability.size)
