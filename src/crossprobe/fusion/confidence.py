"""Several branches, one mask: each pixel trusts the branch that is surer there (S3-10).

Confidence is absolute: a pixel's weight depends on its own probabilities and on nothing else, neither on the
rest of the image nor on the batch. For two branches this has a consequence worth knowing (Corrections 1): any
confidence that grows with |p - 1/2| gives, at threshold 1/2, the very mask of the plain average. Entropy and
margin then differ from the average in how sure the result is, not in the mask. To change masks, branches need
evidence of their own: a temperature each (`fusion.temperature`) against the average of raw outputs, or the
stability of each branch under a flip (`fusion.evidence`).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

FusionMode = Literal["average", "entropy", "margin"]


class Fused(NamedTuple):
    """The fused prediction.

    Attributes:
        probability: [B, 1, H, W] in [0, 1].
        weights: [branches, B, 1, H, W], summing to 1 over branches; `weights[0]` is the map that S3-15 draws.
    """

    probability: Tensor
    weights: Tensor


def entropy_confidence(probability: Tensor) -> Tensor:
    """One minus the binary entropy in units of its maximum: 1 - H(p) / ln 2.

    Written as ((1 + t) log(1 + t) + (1 - t) log(1 - t)) / (2 ln 2) with t = 2p - 1, it keeps its digits near
    p = 1/2, where the difference from 1 would lose them, and is finite at p = 0 and p = 1.

    Args:
        probability: Any shape, in [0, 1].

    Returns:
        Same shape, in [0, 1].
    """
    lean = 2.0 * probability - 1.0
    surplus = torch.special.xlog1py(1.0 + lean, lean) + torch.special.xlog1py(1.0 - lean, -lean)
    return (surplus / (2.0 * math.log(2.0))).clamp(0.0, 1.0)


def margin_confidence(probability: Tensor) -> Tensor:
    """Distance between the probabilities of the two answers: |p - (1 - p)| = |2p - 1|.

    Args:
        probability: Any shape, in [0, 1].

    Returns:
        Same shape, in [0, 1].
    """
    return (2.0 * probability - 1.0).abs()


def confidence_of(probability: Tensor, mode: FusionMode) -> Tensor:
    """How sure a fused probability is, in the measure that it was fused by; entropy for the plain average.

    Args:
        probability: Any shape, in [0, 1].
        mode: How it was fused.

    Returns:
        Same shape, in [0, 1].
    """
    return (margin_confidence if mode == "margin" else entropy_confidence)(probability)


def fuse(probabilities: Tensor, mode: FusionMode, evidence: Tensor | None = None) -> Fused:
    """Averages the branches of each pixel, weighted by confidence.

    Args:
        probabilities: [branches, B, 1, H, W] in [0, 1]; half precision is raised to float32.
        mode: `average` weighs branches alike, `entropy` and `margin` by confidence.
        evidence: What else speaks for a branch, 0 or more, broadcast over `probabilities`: multiplied in.

    Returns:
        Probability and weights. Where no branch has any weight, as where all say 1/2, they count alike.

    Raises:
        ValueError: If there are no branches or the mode is unknown.
    """
    if probabilities.dim() < 2 or probabilities.shape[0] < 1:
        raise ValueError(f"probabilities must be [branches, ...], got shape {tuple(probabilities.shape)}")
    probabilities = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    if mode == "average":
        confidence = torch.ones_like(probabilities)
    elif mode == "entropy":
        confidence = entropy_confidence(probabilities)
    elif mode == "margin":
        confidence = margin_confidence(probabilities)
    else:
        raise ValueError(f"unknown fusion mode {mode!r}: choose average, entropy or margin")
    if evidence is not None:
        confidence = confidence * evidence
    weights = _shares(confidence)
    # Rounding may carry the sum of two saturated branches a hair beyond 1.
    return Fused((probabilities * weights).sum(dim=0).clamp(0.0, 1.0), weights)


def _shares(confidence: Tensor) -> Tensor:
    """Confidence of each branch as a share of the sum; equal shares where there is none to share."""
    total = confidence.sum(dim=0, keepdim=True)
    nothing = total <= torch.finfo(confidence.dtype).tiny
    shares = confidence / total.masked_fill(nothing, 1.0)
    return shares.masked_fill(nothing, 1.0 / confidence.shape[0])


def foreground(probability: Tensor, threshold: float = 0.5) -> Tensor:
    """The mask of a probability map.

    Args:
        probability: Any shape, in [0, 1].
        threshold: Pixels at or above it are foreground.

    Returns:
        bool of the same shape.
    """
    return probability >= threshold
