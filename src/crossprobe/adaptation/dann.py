"""Domain-adversarial training with a gradient reversal layer.

Ganin et al., "Domain-adversarial training of neural networks", JMLR 17(59), 2016. A discriminator learns to
tell the sites apart from the features; the reversed gradient teaches the features to make that impossible. It
needs images of both sites in one place, so it is for sites that may pool images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.models.classifier import Classifier


class DannSettings(BaseModel):
    """How the discriminator is built and how strongly it pushes back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_batch_size: int = Field(32, gt=0, description="Unlabelled target images a step")
    weight: float = Field(1.0, ge=0, description="What the reversed gradient is multiplied by at the end")
    steepness: float = Field(10.0, ge=0, description="Gamma of the schedule; 0 reverses nothing")
    hidden: int = Field(128, gt=0, description="Width of the discriminator's hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the discriminator")
    collapse_accuracy: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="Domain accuracy at which the discriminator has won; 1 less this: it is outrun",
    )
    collapse_share: float = Field(
        0.02, ge=0, lt=0.5, description="Share of target predictions below which a class has vanished"
    )


class _Reversal(torch.autograd.Function):
    """Identity forwards, times minus the scale backwards."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradients[0], None


def reverse_gradient(features: Tensor, scale: float) -> Tensor:
    """Passes features on and multiplies their gradient by minus `scale`.

    Args:
        features: Any shape.
        scale: 0 or more.

    Returns:
        The same values.
    """
    return _Reversal.apply(features, scale)


def reversal_scale(progress: float, settings: DannSettings) -> float:
    """The published schedule: 2 / (1 + exp(-gamma p)) - 1, from 0 towards `weight`.

    Args:
        progress: Share of the steps done, 0 to 1.
        settings: Its steepness gamma and its final weight.

    Returns:
        0 at the start.
    """
    return settings.weight * (2.0 / (1.0 + math.exp(-settings.steepness * progress)) - 1.0)


class DomainAdversarialModel(nn.Module):
    """A classifier and the discriminator that looks at its features.

    Args:
        classifier: What is wanted in the end.
        settings: The discriminator.
    """

    def __init__(self, classifier: Classifier, settings: DannSettings) -> None:
        super().__init__()
        self.classifier = classifier
        self.discriminator = nn.Sequential(
            nn.Linear(classifier.feature_width, settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, 1),
        )

    def domain_logits(self, features: Tensor, scale: float) -> Tensor:
        """Says for features [B, D] how likely they are of the target: logits [B], gradient reversed."""
        return self.discriminator(reverse_gradient(features, scale)).squeeze(1)


def domain_loss(source_logits: Tensor, target_logits: Tensor) -> Tensor:
    """Binary cross-entropy in which each domain counts one half, whatever the sizes of their batches.

    Args:
        source_logits: [B], from labelled images.
        target_logits: [T], from unlabelled ones.

    Returns:
        Scalar in nats; ln 2 is a discriminator that cannot tell.
    """
    source = F.binary_cross_entropy_with_logits(source_logits, torch.zeros_like(source_logits))
    target = F.binary_cross_entropy_with_logits(target_logits, torch.ones_like(target_logits))
    return 0.5 * (source + target)


def domain_accuracy(source_logits: Tensor, target_logits: Tensor) -> float:
    """Mean of the two domains' shares that the discriminator gets right; 0.5 is chance."""
    right = (source_logits < 0).float().mean() + (target_logits >= 0).float().mean()
    return float(right) / 2


def collapse_warnings(
    accuracy: float, shares: dict[str, float], settings: DannSettings, classes: Sequence[str]
) -> list[str]:
    """Says what went wrong with an adversarial run, as far as it shows without target labels.

    Args:
        accuracy: Domain accuracy on held-out images of both sites, at the kept step.
        shares: Share of held-out target images predicted as each class.
        settings: Bounds.
        classes: Names of the classes.

    Returns:
        Sentences; none where nothing is wrong.
    """
    found = []
    if accuracy >= settings.collapse_accuracy:
        found.append(
            "the discriminator still tells the sites apart "
            f"(domain accuracy {accuracy:.2f}, chance is 0.50): the features were not made alike"
        )
    if accuracy <= 1 - settings.collapse_accuracy:
        found.append(
            f"the features outran the discriminator, which is wrong about the sites (domain accuracy "
            f"{accuracy:.2f}, chance is 0.50) and so could tell them apart: lower dann.weight"
        )
    vanished = [name for name in classes if shares.get(name, 0.0) < settings.collapse_share]
    if vanished:
        found.append(
            f"hardly any target image is predicted as {', '.join(vanished)}: "
            "features may have been aligned by giving up a class"
        )
    return found
