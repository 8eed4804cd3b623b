"""Random changes of image and mask together, for fine-tuning, made for a whole batch on its device.

One affine map moves the image and its mask; grey values change in the image alone. The published fine-tuning
uses none of it (`SegmentationAugmentSettings.none()`). A vertical flip would put shadows above what casts
them, so it is a switch that is off (Corrections 7).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crossprobe.training.grey_values import adjust_brightness, adjust_contrast

UNIFORMS_PER_PAIR = 9


class SegmentationAugmentSettings(BaseModel):
    """How strongly a training pair differs from what was recorded; all zero changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_probability: float = Field(
        0.5, ge=0.0, le=1.0, description="How often a pair is mirrored left to right"
    )
    vertical_flip_probability: float = Field(
        0.0, ge=0.0, le=1.0, description="How often it is turned upside down; not physical for ultrasound"
    )
    scale: float = Field(0.1, ge=0.0, lt=1.0, description="Enlarged or shrunk by a factor within 1 ± this")
    rotate_degrees: float = Field(10.0, ge=0.0, le=180.0, description="Turned by up to this, either way")
    translate_share: float = Field(
        0.05, ge=0.0, lt=1.0, description="Moved by up to this share of the side, along both axes"
    )
    brightness: float = Field(0.2, ge=0.0, lt=1.0, description="Grey values times 1 ± up to this")
    contrast: float = Field(
        0.2, ge=0.0, lt=1.0, description="Distance from the mean grey times 1 ± up to this"
    )
    gamma: float = Field(
        0.2,
        ge=0.0,
        description="Grey values to a power between 1/(1 + this) and 1 + this, evenly in its logarithm",
    )

    @classmethod
    def none(cls) -> SegmentationAugmentSettings:
        """No augmentation, as in the published fine-tuning (S3-9)."""
        return cls(**dict.fromkeys(cls.model_fields, 0.0))

    @property
    def moves(self) -> bool:
        """Whether any geometric change is asked for."""
        flips = self.flip_probability + self.vertical_flip_probability
        return flips + self.scale + self.rotate_degrees + self.translate_share > 0

    @property
    def recolours(self) -> bool:
        """Whether any change of grey values is asked for."""
        return self.brightness + self.contrast + self.gamma > 0


def augment_pair(
    images: Tensor, masks: Tensor, uniforms: Tensor, settings: SegmentationAugmentSettings
) -> tuple[Tensor, Tensor]:
    """Changes images and masks alike; what comes in from outside the image is black and background.

    Images are sampled bilinearly; masks too, and cut at one half, which moves a boundary by less than copying
    the nearest pixel does.

    Args:
        images: [B, C, S, S] in [0, 1], before any data-set mean is subtracted.
        masks: [B, 1, S, S], values 0 and 1 of any type.
        uniforms: [B, UNIFORMS_PER_PAIR] in [0, 1), on the device of the images.
        settings: Strengths.

    Returns:
        Images in [0, 1] and masks of 0 and 1, shapes and types as given.

    Raises:
        ValueError: If shapes disagree or the images are not square.
    """
    if images.shape[-1] != images.shape[-2] or masks.shape != (images.shape[0], 1, *images.shape[2:]):
        raise ValueError(
            "images must be square and masks [B, 1, S, S], "
            f"got {tuple(images.shape)} and {tuple(masks.shape)}"
        )
    if uniforms.shape != (images.shape[0], UNIFORMS_PER_PAIR):
        raise ValueError(
            f"uniforms must be [{images.shape[0]}, {UNIFORMS_PER_PAIR}], got {tuple(uniforms.shape)}"
        )
    with torch.autocast(images.device.type, enabled=False):
        changed = images.float()
        if settings.moves:
            theta = draw_affine(uniforms[:, :6], settings)
            grid = F.affine_grid(theta, [len(images), 1, *images.shape[2:]], align_corners=False)
            changed = F.grid_sample(changed, grid, padding_mode="zeros", align_corners=False)
            masks = (F.grid_sample(masks.float(), grid, align_corners=False) >= 0.5).to(masks.dtype)
        if settings.recolours:
            changed = recolour(changed, uniforms[:, 6:], settings)
    return changed.to(images.dtype), masks


def draw_affine(uniforms: Tensor, settings: SegmentationAugmentSettings) -> Tensor:
    """The map from places in the result to places in the image, both from -1 to 1 over the side.

    Args:
        uniforms: [B, 6]: flip, vertical flip, scale, rotation, shift across, shift down.
        settings: Strengths.

    Returns:
        float32 [B, 2, 3] for `torch.nn.functional.affine_grid`.
    """
    flip, upside_down, scale, rotate, across, down = uniforms.float().unbind(dim=1)
    mirror_x = torch.where(flip < settings.flip_probability, -1.0, 1.0)
    mirror_y = torch.where(upside_down < settings.vertical_flip_probability, -1.0, 1.0)
    # The inverse of an enlargement looks at a smaller part of the image.
    shrink = 1.0 / (1.0 + settings.scale * (2.0 * scale - 1.0))
    angle = math.radians(settings.rotate_degrees) * (2.0 * rotate - 1.0)
    cosine, sine = shrink * angle.cos(), shrink * angle.sin()
    # A share of the side is twice as much between -1 and 1.
    shift_x, shift_y = (2.0 * settings.translate_share * (2.0 * number - 1.0) for number in (across, down))
    row_x = torch.stack([cosine * mirror_x, -sine * mirror_y, shift_x], dim=1)
    row_y = torch.stack([sine * mirror_x, cosine * mirror_y, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def recolour(images: Tensor, uniforms: Tensor, settings: SegmentationAugmentSettings) -> Tensor:
    """Applies gamma, then brightness, then contrast to each image.

    Args:
        images: [B, C, S, S] in [0, 1].
        uniforms: [B, 3] in [0, 1): gamma, brightness, contrast.
        settings: Strengths.

    Returns:
        Images of the same shape, in [0, 1].
    """
    gamma, brightness, contrast = (2.0 * uniforms.float() - 1.0).unbind(dim=1)
    power = torch.exp(math.log1p(settings.gamma) * gamma).view(-1, 1, 1, 1)
    images = images.clamp(0.0, 1.0).pow(power)
    images = adjust_brightness(images, 1.0 + settings.brightness * brightness)
    return adjust_contrast(images, 1.0 + settings.contrast * contrast)
