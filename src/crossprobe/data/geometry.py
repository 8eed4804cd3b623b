"""From a native frame to the model's square and back: pad at the bottom and right, then resize.

The steps are those of the published CrossDomainPOCUS code, so that its weights see what they were trained on.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image


def _padded(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    side = max(height, width)
    return np.pad(image, ((0, side - height), (0, side - width)))


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Pads a frame with zeros to a square and resizes it (bilinear, antialiased).

    Args:
        image: Shape [H, W], uint8.
        size: Side of the result, px.

    Returns:
        Shape [size, size], uint8.
    """
    _check(image, np.uint8)
    resized = Image.fromarray(_padded(image)).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(resized, dtype=np.uint8)


def square_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Pads and resizes a mask exactly over what `square` does to its image.

    Args:
        mask: Shape [H, W], uint8; foreground is any value above 0.
        size: Side of the result, px.

    Returns:
        Shape [size, size], uint8 of 0 and 1.
    """
    _check(mask, np.uint8)
    binary = (_padded(mask) > 0).astype(np.uint8)
    # OpenCV's fixed-point bilinear on 0/1 rounds at one half: the public code's masks, bit for bit.
    return np.asarray(cv2.resize(binary, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def unsquare(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Undoes `square` for a map of values: resizes to the native side and cuts the padding off.

    Args:
        values: Shape [S, S], float32, such as probabilities.
        height: Native height of the frame, px.
        width: Native width of the frame, px.

    Returns:
        Shape [height, width], float32. Bilinear, so inside the range of the input.
    """
    _check(values, np.float32)
    side = max(height, width)
    resized = Image.fromarray(values).resize((side, side), Image.Resampling.BILINEAR)
    return np.array(resized, dtype=np.float32)[:height, :width]


def _check(array: np.ndarray, dtype: type) -> None:
    if array.ndim != 2 or array.dtype != dtype or 0 in array.shape:
        raise TypeError(f"expected a {np.dtype(dtype)} array [H, W], got {array.dtype} {array.shape}")
