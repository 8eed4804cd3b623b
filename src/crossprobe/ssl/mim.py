"""Masked image modelling: hide cells of an image, rebuild them, compare them with what was hidden (S3-7).

After SimMIM (Xie et al., CVPR 2022): every patch is fed, hidden ones as zeros; the loss is the mean absolute
error on hidden pixels only. Speckled cells are this method's ultrasound variant: multiplied, not removed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

# Added to the variance of a cell before the root: a flat cell is divided by .001, not by 0.
_SMALLEST_VARIANCE = 1e-6


class MimSettings(BaseModel):
    """What is hidden, how, and against what the reconstruction is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask_ratio: float = Field(
        0.6, gt=0.0, le=1.0, description="Share of the cells that are hidden, rounded up"
    )
    mask_patch_px: int = Field(32, ge=1, description="Side of a cell; must divide the side of the image")
    speckle_share: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of the hidden cells that get multiplicative noise, not zeros"
    )
    per_patch_normalisation: bool = Field(
        False,
        description="Rebuild cells with mean 0 and variance 1 (He et al., CVPR 2022), not grey values",
    )

    def grid(self, side_px: int) -> int:
        """Cells along one side of an image.

        Args:
            side_px: Side of the square image.

        Returns:
            1 or more.

        Raises:
            ValueError: If cells do not tile the image.
        """
        if side_px % self.mask_patch_px:
            raise ValueError(
                f"mask_patch_px {self.mask_patch_px} does not divide the image side {side_px} px"
            )
        return side_px // self.mask_patch_px


class MimMask(NamedTuple):
    """Which cells of each image are hidden.

    Attributes:
        hidden: bool [B, 1, G, G]; the loss looks at these.
        speckled: bool [B, 1, G, G]; those among the hidden that keep their content under noise.
    """

    hidden: Tensor
    speckled: Tensor


def draw_mask(uniforms: Tensor, settings: MimSettings) -> MimMask:
    """Hides the cells with the smallest random numbers: the same count in every image.

    Args:
        uniforms: [B, G * G], one number a cell in row order, on the device where the mask is wanted.
        settings: Ratio and speckle share.

    Returns:
        ceil(ratio * G * G) hidden cells an image, of them floor(share * hidden) speckled.

    Raises:
        ValueError: If the number of cells is not a square.
    """
    images, cells = uniforms.shape
    grid = math.isqrt(cells)
    if grid * grid != cells:
        raise ValueError(f"uniforms has {cells} columns; a square grid of cells was expected")
    # Products such as 5 * .6 land a hair above the whole number they mean.
    hidden_count = math.ceil(settings.mask_ratio * cells - 1e-9)
    speckled_count = math.floor(settings.speckle_share * hidden_count + 1e-9)
    # Stable, so that equal numbers are ordered alike on every device.
    order = torch.argsort(uniforms, dim=1, stable=True)
    places = torch.arange(cells, device=uniforms.device).expand(images, cells)
    rank = torch.empty_like(order).scatter_(1, order, places).view(images, 1, grid, grid)
    return MimMask(hidden=rank < hidden_count, speckled=rank < speckled_count)


def pixel_mask(cells: Tensor, side_px: int) -> Tensor:
    """Blows a grid of cells up to pixels.

    Args:
        cells: [B, 1, G, G], any type.
        side_px: Side of the image, a multiple of G.

    Returns:
        [B, 1, side, side] of the same type.
    """
    cell_px = side_px // cells.shape[-1]
    return cells.repeat_interleave(cell_px, dim=-2).repeat_interleave(cell_px, dim=-1)


def hide(images: Tensor, mask: MimMask, noise: Tensor | None = None) -> Tensor:
    """Zeroes the hidden cells; the speckled ones become x + x * noise instead, clipped to [0, 1].

    Args:
        images: [B, C, S, S] in [0, 1]: mask first, subtract a data-set mean afterwards.
        mask: From `draw_mask`.
        noise: Standard normal numbers [B, 1, S, S] (any shape that broadcasts); None if no cell is speckled.

    Returns:
        A new tensor like `images`.
    """
    side_px = images.shape[-1]
    hidden = images.masked_fill(pixel_mask(mask.hidden, side_px), 0.0)
    if noise is None:
        return hidden
    speckle = (images + images * noise.to(images.dtype)).clamp(0.0, 1.0)
    return torch.where(pixel_mask(mask.speckled, side_px), speckle, hidden)


def target_of(images: Tensor, settings: MimSettings) -> Tensor:
    """What the reconstruction is compared with: the images, or their cells standardised one by one.

    Args:
        images: [B, C, S, S] as the network sees them, but unmasked.
        settings: Whether and over which cells to standardise, all channels of a cell together.

    Returns:
        [B, C, S, S].
    """
    if not settings.per_patch_normalisation:
        return images
    mean, deviation = _cell_statistics(images, settings)
    return (images - mean) / deviation


def _cell_statistics(images: Tensor, settings: MimSettings) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the cell around each pixel, both [B, 1, S, S]."""
    side_px = images.shape[-1]
    settings.grid(side_px)
    cell_px = settings.mask_patch_px
    mean = F.avg_pool2d(images.mean(dim=1, keepdim=True), cell_px)
    centred = images - pixel_mask(mean, side_px)
    variance = F.avg_pool2d(centred.square().mean(dim=1, keepdim=True), cell_px)
    return pixel_mask(mean, side_px), pixel_mask((variance + _SMALLEST_VARIANCE).sqrt(), side_px)


def mim_loss(reconstruction: Tensor, images: Tensor, mask: MimMask, settings: MimSettings) -> Tensor:
    """Mean absolute error over the hidden pixels, in single precision also under autocast.

    The public code divides by the channels once too often: its figure is exactly a third of this one.

    Args:
        reconstruction: [B, C, S, S] from the network.
        images: [B, C, S, S], the unmasked input in the same units.
        mask: Which cells were hidden; speckled cells count as hidden.
        settings: Whether the target is standardised.

    Returns:
        Scalar, 0 or more; 0 if nothing is hidden.
    """
    with torch.autocast(images.device.type, enabled=False):
        precision = torch.promote_types(reconstruction.dtype, torch.float32)
        target = target_of(images.to(precision), settings)
        error = (reconstruction.to(precision) - target).abs().mean(dim=1, keepdim=True)
        # Averaging inside cells first keeps the mask small: no mask of the image's size is ever made.
        by_cell = F.avg_pool2d(error, images.shape[-1] // mask.hidden.shape[-1])
        return (by_cell * mask.hidden).sum() / mask.hidden.sum().clamp_min(1)


def rebuilt(reconstruction: Tensor, images: Tensor, mask: MimMask, settings: MimSettings) -> Tensor:
    """The picture for a panel: seen cells as they are, hidden ones as the network rebuilt them.

    Args:
        reconstruction: [B, C, S, S] from the network.
        images: [B, C, S, S], the unmasked input.
        mask: Which cells were hidden.
        settings: If targets were standardised, the true mean and deviation of each cell are put back.

    Returns:
        [B, C, S, S] in the units of `images`.
    """
    reconstruction = reconstruction.to(images.dtype)
    if settings.per_patch_normalisation:
        mean, deviation = _cell_statistics(images, settings)
        reconstruction = reconstruction * deviation + mean
    return torch.where(pixel_mask(mask.hidden, images.shape[-1]), reconstruction, images)
