"""The two random views of contrastive learning, made for a whole batch on its device (S3-8).

Random resized crop, left-right flip, brightness and contrast. Saturation jitter, which the papers list, does
nothing to grey images (Corrections 7) and is left out; so is a vertical flip, which would put shadows above
bone.

A crop of a square is never larger than the square it is resized to, so it is always enlarged: the filter
against aliasing that image libraries apply when they shrink is then none at all, and plain bilinear sampling
is the same operation. Sampling stops at the edge of the crop, as if the rest of the image were not there.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

# Candidate crops an image may draw before it stays whole; one wider or higher than the image is refused.
_CROP_ATTEMPTS = 10
UNIFORMS_PER_VIEW = 2 * _CROP_ATTEMPTS + 7


class ContrastiveAugmentSettings(BaseModel):
    """How strongly a view differs from its frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    area_smallest: float = Field(
        0.5, gt=0.0, le=1.0, description="Smallest crop, as a share of the image's area"
    )
    area_largest: float = Field(
        1.0, gt=0.0, le=1.0, description="Largest crop, as a share of the image's area"
    )
    aspect_smallest: float = Field(3 / 4, gt=0.0, le=1.0, description="Narrowest crop, width over height")
    aspect_largest: float = Field(4 / 3, ge=1.0, description="Widest crop, width over height")
    flip_probability: float = Field(
        0.5, ge=0.0, le=1.0, description="How often a view is mirrored left to right"
    )
    jitter_probability: float = Field(0.8, ge=0.0, le=1.0, description="How often grey values change at all")
    brightness: float = Field(0.4, ge=0.0, lt=1.0, description="Grey values times 1 ± up to this")
    contrast: float = Field(
        0.4, ge=0.0, lt=1.0, description="Distance from the mean grey times 1 ± up to this"
    )

    def model_post_init(self, _context: object) -> None:
        """Refuses an empty range.

        Raises:
            ValueError: If the smallest area exceeds the largest.
        """
        if self.area_smallest > self.area_largest:
            raise ValueError(f"area_smallest {self.area_smallest} exceeds area_largest {self.area_largest}")


def contrastive_view(images: Tensor, uniforms: Tensor, settings: ContrastiveAugmentSettings) -> Tensor:
    """One random view of each image; call it twice with numbers of two streams.

    Args:
        images: [B, C, S, S] in [0, 1], before any data-set mean is subtracted.
        uniforms: [B, UNIFORMS_PER_VIEW] in [0, 1), on the device of the images.
        settings: Strengths.

    Returns:
        [B, C, S, S] in [0, 1], of the type of `images`.

    Raises:
        ValueError: If the images are not square or the uniforms not of that many columns.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images must be square, got {tuple(images.shape)}")
    if uniforms.shape != (images.shape[0], UNIFORMS_PER_VIEW):
        raise ValueError(
            f"uniforms must be [{images.shape[0]}, {UNIFORMS_PER_VIEW}], got {tuple(uniforms.shape)}"
        )
    side_px = images.shape[-1]
    crop, rest = uniforms[:, : 2 * _CROP_ATTEMPTS + 2], uniforms[:, 2 * _CROP_ATTEMPTS + 2 :]
    flip, jitter, brightness, contrast, order = rest.unbind(dim=1)
    with torch.autocast(images.device.type, enabled=False):
        boxes = draw_crops(crop, side_px, settings)
        views = crop_resize(images.float(), boxes, flip < settings.flip_probability, side_px)
        applied = (jitter < settings.jitter_probability).to(views.dtype)
        by_brightness = 1.0 + applied * settings.brightness * (2.0 * brightness - 1.0)
        by_contrast = 1.0 + applied * settings.contrast * (2.0 * contrast - 1.0)
        # Which comes first is a coin toss; a factor of 1 changes nothing.
        brightness_first, one = order < 0.5, torch.ones_like(by_brightness)
        _adjust_brightness_(views, torch.where(brightness_first, by_brightness, one))
        _adjust_contrast_(views, by_contrast)
        _adjust_brightness_(views, torch.where(brightness_first, one, by_brightness))
    return views.to(images.dtype)


def draw_crops(uniforms: Tensor, side_px: int, settings: ContrastiveAugmentSettings) -> Tensor:
    """Chooses a rectangle in each image: area evenly, aspect ratio evenly in its logarithm, then its place.

    Of ten candidates the first that fits is taken; if none fits, the whole image.

    Args:
        uniforms: [B, 22]: areas, aspects of ten candidates, top, left.
        side_px: Side of the square images.
        settings: Ranges.

    Returns:
        [B, 4], whole pixels as float32: top, left, height, width.
    """
    area_numbers, aspect_numbers, place = uniforms.split([_CROP_ATTEMPTS, _CROP_ATTEMPTS, 2], dim=1)
    area = settings.area_smallest + (settings.area_largest - settings.area_smallest) * area_numbers
    lowest, highest = math.log(settings.aspect_smallest), math.log(settings.aspect_largest)
    aspect = torch.exp(lowest + (highest - lowest) * aspect_numbers)
    width = (side_px * (area * aspect).sqrt()).round().clamp_min(1.0)
    height = (side_px * (area / aspect).sqrt()).round().clamp_min(1.0)
    fits = (width <= side_px) & (height <= side_px)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    found = fits.any(dim=1, keepdim=True)
    width = torch.where(found, width.gather(1, first), float(side_px))
    height = torch.where(found, height.gather(1, first), float(side_px))
    size = torch.cat([height, width], dim=1)
    # The product of a number below 1 may round up to the count itself.
    corner = torch.minimum((place * (side_px - size + 1.0)).floor(), side_px - size)
    return torch.cat([corner, size], dim=1)


def crop_resize(images: Tensor, boxes: Tensor, flip: Tensor, size_px: int) -> Tensor:
    """Cuts rectangles out and enlarges them to squares, bilinearly.

    Args:
        images: [B, C, S, S].
        boxes: [B, 4]: top, left, height, width in px; fractions allowed.
        flip: bool [B], mirror the result left to right.
        size_px: Side of the result. Smaller than the box, the result is aliased.

    Returns:
        [B, C, size, size], in memory of its own.
    """
    if _fits_processor_kernel(images, boxes):
        return _crop_resize_one_by_one(images, boxes, flip, size_px)
    top, left, height, width = boxes.to(images.dtype).unbind(dim=1)
    steps = (torch.arange(size_px, device=images.device, dtype=images.dtype) + 0.5) / size_px
    across = torch.where(flip[:, None], 1.0 - steps, steps)
    x = _within(left, width, across) * (2.0 / images.shape[-1]) - 1.0
    y = _within(top, height, steps) * (2.0 / images.shape[-2]) - 1.0
    grid = torch.stack([x[:, None, :].expand(-1, size_px, -1), y[:, :, None].expand(-1, -1, size_px)], dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _within(start: Tensor, length: Tensor, steps: Tensor) -> Tensor:
    """Positions at those shares of a stretch, kept between the centres of its outer pixels: [B, size] px."""
    start, length = start[:, None], length[:, None]
    return torch.minimum(torch.maximum(start + length * steps, start + 0.5), start + length - 0.5)


def _fits_processor_kernel(images: Tensor, boxes: Tensor) -> bool:
    """Whether OpenCV gives the same result: it cuts at whole pixels and knows no gradients."""
    plain = images.device.type == "cpu" and images.dtype == torch.float32 and not images.requires_grad
    return plain and bool((boxes == boxes.round()).all())


def _crop_resize_one_by_one(images: Tensor, boxes: Tensor, flip: Tensor, size_px: int) -> Tensor:
    """`crop_resize` of whole pixels: an eighth of the time of sampling at a grid of places on a processor."""
    source = images.numpy()
    result = np.empty((*source.shape[:2], size_px, size_px), dtype=np.float32)
    for image, target, (top, left, height, width), mirrored in zip(
        source, result, boxes.int().tolist(), flip.tolist(), strict=True
    ):
        for channel, enlarged in zip(image, target, strict=True):
            part = channel[top : top + height, left : left + width]
            view = cv2.resize(part, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
            enlarged[:] = view[:, ::-1] if mirrored else view
    return torch.from_numpy(result)


def _adjust_brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """`training.grey_values.adjust_brightness` in place: a batch of views is larger than the caches."""
    return images.mul_(factor.view(-1, 1, 1, 1)).clamp_(0.0, 1.0)


def _adjust_contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """`training.grey_values.adjust_contrast` in place."""
    factor = factor.view(-1, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return images.mul_(factor).add_(mean * (1.0 - factor)).clamp_(0.0, 1.0)
