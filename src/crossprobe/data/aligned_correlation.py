"""Correlates the fine detail of two images, whichever is a crop of the other and whichever is mirrored."""

from __future__ import annotations

import cv2
import numpy as np

from crossprobe.data.leakage import local_detail

THUMBNAIL_PX = 128
SIDE_PX = 64
MARGIN_PX = 3
# Width and height of the smaller image as shares of the larger one's.
SHARES = ((1.0, 1.0), (0.95, 0.95), (0.9, 0.9), (0.95, 1.0), (1.0, 0.95), (0.9, 1.0), (1.0, 0.9))
# Below this mean square the template holds next to no tissue, and its correlation would be chance.
LEAST_DETAIL = 0.05


def aligned_correlation(one: np.ndarray, other: np.ndarray, enough: float = 1.0) -> float:
    """Finds the best fit of one image in the other over mirroring, crop and shift.

    Args:
        one: Shape [128, 128], uint8.
        other: Shape [128, 128], uint8.
        enough: Search ends where this is reached.

    Returns:
        Largest normalised correlation of local detail, -1 to 1. Scans of two patients reach .16.
    """
    best = -1.0
    for second in (other, np.ascontiguousarray(other[:, ::-1])):
        for larger, smaller in ((one, second), (second, one)):
            best = max(best, _fit(larger, smaller))
            if best >= enough:
                return best
    return best


def _fit(larger: np.ndarray, smaller: np.ndarray) -> float:
    field, _ = local_detail(larger, SIDE_PX, SIDE_PX)
    best = -1.0
    for width, height in SHARES:
        template, _ = local_detail(smaller, round(height * SIDE_PX), round(width * SIDE_PX))
        if width == height == 1:
            # Room to shift by a little, as between neighbouring frames of one clip.
            template = template[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        if float((template**2).mean()) < LEAST_DETAIL:
            continue
        best = max(best, float(cv2.matchTemplate(field, template, cv2.TM_CCOEFF_NORMED).max()))
    return best
