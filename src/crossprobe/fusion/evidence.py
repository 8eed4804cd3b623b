"""Evidence that differs by branch: a branch that changes its mind when the image is mirrored is trusted less.

Confidence that is a function of the probability alone cannot change the mask of two branches (Corrections 1).
Variance under test-time augmentation (Wang et al., Neurocomputing 2019) is a second opinion of one branch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class FlipEvidenceSettings(BaseModel):
    """How disagreement under a flip becomes a weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    floor: float = Field(
        0.01, gt=0.0, description="Variance added to that of every branch: below it, differences hardly count"
    )
    window_px: int = Field(
        9, ge=1, description="Side of the square over which variance is averaged; odd: two samples are few"
    )

    def model_post_init(self, _context: object) -> None:
        """Refuses an even window.

        Raises:
            ValueError: If the window has no centre pixel.
        """
        if self.window_px % 2 == 0:
            raise ValueError(f"window_px must be odd, got {self.window_px}")


def flip_evidence(probabilities: Tensor, flipped_back: Tensor, settings: FlipEvidenceSettings) -> Tensor:
    """Inverse variance of each branch between an image and its mirror image.

    Args:
        probabilities: [branches, B, 1, H, W] in [0, 1].
        flipped_back: Same shape: predictions on images mirrored left to right, mirrored back.
        settings: Floor and window.

    Returns:
        [branches, B, 1, H, W] in (0, 1]: floor / (variance + floor), for `fuse(evidence=...)`. A pixel's
        value depends on its own image only.

    Raises:
        ValueError: If the shapes differ.
    """
    if probabilities.shape != flipped_back.shape:
        raise ValueError(
            f"predictions {tuple(probabilities.shape)} and those of mirrored images "
            f"{tuple(flipped_back.shape)} must be alike"
        )
    precision = torch.promote_types(probabilities.dtype, torch.float32)
    variance = ((probabilities.to(precision) - flipped_back.to(precision)) / 2.0).square()
    smooth = F.avg_pool2d(
        variance.flatten(0, 1),
        settings.window_px,
        stride=1,
        padding=settings.window_px // 2,
        count_include_pad=False,
    )
    return settings.floor / (smooth.view_as(variance) + settings.floor)
