"""Changes of grey values that every augmentation shares; each image has a strength of its own."""

from __future__ import annotations

from torch import Tensor


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies the grey values of each image.

    Args:
        images: [B, C, H, W] in [0, 1].
        factor: [B], 0 or more; 1 changes nothing.

    Returns:
        [B, C, H, W], clipped to [0, 1].
    """
    return (images * factor.view(-1, 1, 1, 1)).clamp_(0.0, 1.0)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies the distance of each image's grey values from their mean, padding included.

    Args:
        images: [B, C, H, W] in [0, 1].
        factor: [B], 0 or more; 1 changes nothing.

    Returns:
        [B, C, H, W], clipped to [0, 1].
    """
    factor = factor.view(-1, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images * factor + mean * (1.0 - factor)).clamp_(0.0, 1.0)
