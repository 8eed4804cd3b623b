"""The fine-tuning loss: soft Dice plus binary cross-entropy, from logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crossprobe.training.ranks import Ranks

# Keeps an empty prediction of an empty target from dividing nothing by nothing when smooth is 0.
_SMALLEST_AREA = 1e-7


class DiceBceSettings(BaseModel):
    """How `dice_bce` treats batches and empty targets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smooth: float = Field(
        1.0, ge=0.0, description="Pixels added to both halves of the Dice ratio; 0 as in the public code"
    )
    per_sample: bool = Field(
        True, description="Dice of each image, averaged; false: one Dice over the whole batch flattened"
    )

    @classmethod
    def public_code(cls) -> DiceBceSettings:
        """The form of the published training script (S3-9): batch-flattened, without smoothing."""
        return cls(smooth=0.0, per_sample=False)


def dice_loss(
    logits: Tensor,
    target: Tensor,
    smooth: float = 1.0,
    per_sample: bool = True,
    ranks: Ranks | None = None,
) -> Tensor:
    """One minus the soft Dice coefficient of Milletari et al. (3DV 2016), without squares.

    Per sample, the loss of an image does not depend on what else is in its batch; flattened, images with much
    foreground outvote the others. With smooth 0 an item without foreground counts 0: its ratio says nothing.

    Args:
        logits: [B, ...], before the sigmoid; at least float32 is used inside.
        target: Same shape, values in [0, 1].
        smooth: Pixels added to numerator and denominator; 0 or more.
        per_sample: One ratio an image instead of one for the batch.
        ranks: Processes that share the batch. One ratio for the batch then takes the pixels of all of them.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: If the shapes differ.
    """
    logits, target = _checked(logits, target)
    with torch.autocast(logits.device.type, enabled=False):
        probability = torch.sigmoid(logits)
        groups = logits.shape[0] if per_sample else 1
        probability, flat_target = probability.reshape(groups, -1), target.reshape(groups, -1)
        overlap, predicted_area = (probability * flat_target).sum(dim=1), probability.sum(dim=1)
        target_area = flat_target.sum(dim=1)
        if ranks is not None and not per_sample:
            overlap, predicted_area, target_area = (
                ranks.sum(part) for part in (overlap, predicted_area, target_area)
            )
        area = (predicted_area + target_area + smooth).clamp_min(_SMALLEST_AREA)
        loss = 1.0 - (2.0 * overlap + smooth) / area
        if smooth == 0.0:
            loss = loss * (target_area > 0)
        return loss.mean()


def dice_bce(
    logits: Tensor,
    target: Tensor,
    smooth: float = 1.0,
    per_sample: bool = True,
    ranks: Ranks | None = None,
) -> Tensor:
    """Soft Dice loss plus mean binary cross-entropy, each with weight 1 (S3-9).

    The cross-entropy comes from the logits, so it stays finite and keeps its gradient where the sigmoid has
    saturated. (Code that takes logs of probabilities clamps them at -100: logits clamped to ±100 give that.)

    Args:
        logits: [B, ...], before the sigmoid; half precision is raised to float32, also under autocast.
        target: Same shape, values in [0, 1].
        smooth: Pixels added to numerator and denominator of the Dice ratio; 0 or more.
        per_sample: One Dice ratio an image instead of one for the batch; the cross-entropy is the same.
        ranks: Processes that share the batch equally: the mean of their losses is that of the whole batch.

    Returns:
        Scalar, 0 or more.

    Raises:
        ValueError: If the shapes differ.
    """
    logits, target = _checked(logits, target)
    with torch.autocast(logits.device.type, enabled=False):
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target)
        return cross_entropy + dice_loss(logits, target, smooth, per_sample, ranks)


def _checked(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one type of at least single precision, or an error that names the shapes."""
    if logits.shape != target.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and target {tuple(target.shape)} must have the same shape: "
            "give the target a channel axis as the logits have"
        )
    precision = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(precision), target.to(precision)
