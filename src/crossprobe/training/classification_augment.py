"""Augmentation of images to classify; pure functions of the random numbers handed in.

The changes of `segmentation_augment`, and shear, which the fetal study tried (S1-4).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from crossprobe.training.segmentation_augment import SegmentationAugmentSettings, draw_affine, recolour

UNIFORMS_PER_IMAGE = 10


class ClassificationAugmentSettings(SegmentationAugmentSettings):
    """How strongly a training image differs from what was recorded; all zero changes nothing."""

    shear_degrees: float = Field(0.0, ge=0.0, lt=60.0, description="Sheared across by up to this, either way")

    @property
    def moves(self) -> bool:
        """Whether any geometric change is asked for."""
        return super().moves or self.shear_degrees > 0


def augment_images(images: Tensor, uniforms: Tensor, settings: ClassificationAugmentSettings) -> Tensor:
    """Moves and recolours images; what comes in from outside is black.

    Args:
        images: [B, C, S, S] in [0, 1], before any data-set mean is subtracted.
        uniforms: [B, UNIFORMS_PER_IMAGE] in [0, 1), on the device of the images.
        settings: Strengths.

    Returns:
        Images in [0, 1], shape and type as given.

    Raises:
        ValueError: If shapes do not fit.
    """
    if images.shape[-1] != images.shape[-2] or uniforms.shape != (len(images), UNIFORMS_PER_IMAGE):
        raise ValueError(
            f"expected square images and uniforms [{len(images)}, {UNIFORMS_PER_IMAGE}], "
            f"got {tuple(images.shape)} and {tuple(uniforms.shape)}"
        )
    with torch.autocast(images.device.type, enabled=False):
        changed = images.float()
        if settings.moves:
            theta = _sheared(draw_affine(uniforms[:, :6], settings), uniforms[:, 9], settings.shear_degrees)
            grid = F.affine_grid(theta, list(images.shape), align_corners=False)
            changed = F.grid_sample(changed, grid, padding_mode="zeros", align_corners=False)
        if settings.recolours:
            changed = recolour(changed, uniforms[:, 6:9], settings)
    return changed.to(images.dtype)


def _sheared(theta: Tensor, uniforms: Tensor, shear_degrees: float) -> Tensor:
    """Shears the places [B, 2, 3] that an affine map looks at, across, in proportion to the depth."""
    slope = torch.tan(math.radians(shear_degrees) * (2.0 * uniforms.float() - 1.0))
    sheared = theta.clone()
    sheared[:, 0, 1] += slope * theta[:, 0, 0]
    sheared[:, 1, 1] += slope * theta[:, 1, 0]
    return sheared
