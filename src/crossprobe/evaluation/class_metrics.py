"""Figures of a classifier from its probabilities, with a weight for every image.

Weights make patients count alike, and make a bootstrap over patients a matter of weights: R rows of them give
R values at once. Checked against scikit-learn with `sample_weight`.
"""

from __future__ import annotations

import numpy as np

from crossprobe.errors import CrossprobeError

ECE_BINS = 10
PER_CLASS = ("precision", "recall", "f1", "fpr")
LOWER_IS_BETTER = ("ece", "brier", "nll", "aurc", "fpr_macro")


def class_metrics(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, classes: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Computes every figure for every row of weights.

    Args:
        probabilities: [N, classes], rows add to 1.
        labels: Class numbers [N].
        weights: [R, N], 0 or more.
        classes: Names of the classes.

    Returns:
        Arrays [R] by name: `accuracy, balanced_accuracy, auroc, f1_macro, precision_macro, fpr_macro, ece,
        brier, nll, aurc`, and `<metric>_<class>` for each of `PER_CLASS`. AUROC is the mean over classes of
        one against the rest. What does not exist, such as the recall of a class that is not there, is NaN,
        and means over classes leave it out.

    Raises:
        CrossprobeError: Shapes do not fit.
    """
    if probabilities.shape != (len(labels), len(classes)) or weights.shape[1:] != (len(labels),):
        raise CrossprobeError(
            f"probabilities {probabilities.shape}, labels {labels.shape} and weights {weights.shape} "
            f"do not fit {len(classes)} classes"
        )
    predicted = probabilities.argmax(1)
    right = predicted == labels
    found = _from_confusion(confusion_matrices(predicted, labels, weights, len(classes)), classes)
    areas = [binary_auroc(probabilities[:, k], labels == k, weights) for k in range(len(classes))]
    found["auroc"] = _mean_of(np.stack(areas))
    truth = np.eye(len(classes))[labels]
    likelihood = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(1)
        found["brier"] = weights @ ((probabilities - truth) ** 2).sum(1) / total
        found["nll"] = weights @ -np.log(likelihood) / total
    found["ece"] = calibration_error(probabilities.max(1), right, weights)
    found["aurc"] = risk_coverage_area(predictive_entropy(probabilities), right, weights)
    return found


def confusion_matrices(
    predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray, count: int
) -> np.ndarray:
    """Weighs images by true and by predicted class.

    Args:
        predicted: Class numbers [N].
        labels: Class numbers [N].
        weights: [R, N].
        count: How many classes.

    Returns:
        [R, true, predicted].
    """
    cells = np.eye(count * count)[labels * count + predicted]
    return (weights @ cells).reshape(len(weights), count, count)


def _from_confusion(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    total = confusion.sum((1, 2))
    hit = np.diagonal(confusion, axis1=1, axis2=2)
    true, predicted = confusion.sum(2), confusion.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hit / true
        # A class that is never predicted has precision 0 where it exists, and none where it does not.
        precision = np.where(predicted > 0, hit / predicted, np.where(true > 0, 0.0, np.nan))
        f1 = np.where(true + predicted > 0, 2 * hit / (true + predicted), np.nan)
        rate = (predicted - hit) / (total[:, None] - true)
        found = {"accuracy": hit.sum(1) / total}
    tables = {"precision": precision, "recall": recall, "f1": f1, "fpr": rate}
    for name in PER_CLASS:
        found |= {f"{name}_{label}": tables[name][:, k] for k, label in enumerate(classes)}
    found["balanced_accuracy"] = _mean_of(recall.T)
    return found | {f"{name}_macro": _mean_of(tables[name].T) for name in ("f1", "precision", "fpr")}


def _mean_of(parts: np.ndarray) -> np.ndarray:
    """Mean over classes [classes, R] of what exists."""
    known = np.isfinite(parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, parts, 0).sum(0) / known.sum(0)


def binary_auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chance that a positive image scores above a negative one; ties count one half.

    Args:
        scores: [N].
        positive: Booleans [N].
        weights: [R, N].

    Returns:
        [R], NaN where one side has no weight.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    ordered = weights[:, order]
    of_positive = np.add.reduceat(ordered * positive[order], starts, axis=1)
    of_negative = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    beaten = np.cumsum(of_negative, axis=1) - of_negative / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (of_positive * beaten).sum(1) / (of_positive.sum(1) * of_negative.sum(1))


def calibration_error(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error of the named class over equal bins (Naeini et al., AAAI 2015).

    Args:
        confidence: Probability of the named class, [N].
        right: Whether it is the true one, [N].
        weights: [R, N].

    Returns:
        [R], 0 is calibrated.
    """
    place = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    surplus = weights @ (np.eye(ECE_BINS)[place] * (confidence - right)[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(surplus).sum(1) / weights.sum(1)


def predictive_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row of probabilities [N, classes]: how unsure an answer is."""
    safe = np.clip(probabilities, 1e-12, 1)
    return -(safe * np.log(safe)).sum(1)


def risk_coverage_area(uncertainty: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean error over all shares of images kept when the least sure are left out first (AURC).

    Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017. Images that are
    equally sure are kept or left out together.

    Args:
        uncertainty: [N], higher is less sure.
        right: Whether each answer is right, [N].
        weights: [R, N].

    Returns:
        [R], 0 is best.
    """
    order = np.argsort(uncertainty, kind="stable")
    edges = np.flatnonzero(np.r_[np.diff(uncertainty[order]) != 0, True])
    kept = np.cumsum(weights[:, order], axis=1)[:, edges]
    wrong = np.cumsum(weights[:, order] * ~right[order], axis=1)[:, edges]
    steps = np.diff(np.concatenate([np.zeros((len(weights), 1)), kept], axis=1), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        risk = np.where(kept > 0, wrong / kept, 0)
        return (risk * steps).sum(1) / kept[:, -1]


def referral_curve(
    uncertainty: np.ndarray, right: np.ndarray, weights: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Accuracy on what is left when the least sure images are referred to an expert.

    Args:
        uncertainty: [N], higher is less sure.
        right: Whether each answer is right, [N].
        weights: [N].
        shares: Shares referred, each in [0, 1).

    Returns:
        Accuracies, one a share. Images on the border count in part, so the order of equals does not matter.
    """
    order = np.argsort(uncertainty, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(uncertainty[order]) != 0])
    heavy = np.add.reduceat(weights[order], starts)
    good = np.add.reduceat(weights[order] * right[order], starts)
    edges, gained = np.r_[0, np.cumsum(heavy)], np.r_[0, np.cumsum(good)]
    kept = (1 - np.asarray(shares)) * edges[-1]
    return np.interp(kept, edges, gained) / kept
