"""Finds the ultrasound area of a recording, so that text, rulers and logos outside it go."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

# Windows of this side with at most this contrast hold no speckle: a panel, or black.
FLAT_WINDOW = 9
FLAT_CONTRAST = 2
# Nothing thinner than this share of the longer side is tissue: text, ticks, grey bars.
TEXT_HEIGHT = 0.025
LARGE_PIECE = 0.1
SMALLEST_AREA = 0.05
VIDEO_FRAMES = 6
# Rather some black around the scan than tissue too dark to be seen cut off.
MARGIN = 0.01
MOTION_WINDOW = 9
MOTION = 0.6
SHIMMER = 0.04
# An echo beyond a shadow is at least this long, as a share of the longer side; a clock is shorter.
LONG_ECHO = 0.06
# Deep down a scan is black but for the receiver's noise; a screen's background is exactly still.
NOISE = 0.25
NOISE_SHARE = 0.05
DIM_SHARE = 0.5
DARKEST_TEXT = 20


class AreaSettings(BaseModel):
    """How the ultrasound area is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: bool = Field(True, description="Crop to the ultrasound area; off keeps the whole frame.")
    sampled_frames: int = Field(40, ge=1, le=1000, description="Frames of a video that are looked at.")


class Area(NamedTuple):
    """The box that is kept, in px of the native frame, and whether it was found or is the whole frame."""

    top: int
    left: int
    height: int
    width: int
    found: bool


class FrameStatistics:
    """Running figures of a recording's pixels, in constant memory."""

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        self.count = 0
        self.total = np.zeros(shape, dtype=np.float32)
        self.squares = np.zeros(shape, dtype=np.float32)
        self.highest = np.zeros(shape, dtype=np.uint8)
        self.lowest = np.full(shape, 255, dtype=np.uint8)

    def update(self, frame: np.ndarray) -> None:
        """Adds a frame.

        Args:
            frame: Shape [H, W], uint8.
        """
        self.count += 1
        self.total += frame.astype(np.float32)
        self.squares += frame.astype(np.float32) ** 2
        np.maximum(self.highest, frame, out=self.highest)
        np.minimum(self.lowest, frame, out=self.lowest)

    def mean(self) -> np.ndarray:
        """Gives the mean frame, float32."""
        return self.total / max(self.count, 1)

    def deviation(self) -> np.ndarray:
        """Gives each pixel's standard deviation over time, float32."""
        variance = self.squares / max(self.count, 1) - self.mean() ** 2
        return np.sqrt(np.maximum(variance, 0))


def find_area(statistics: FrameStatistics, settings: AreaSettings) -> Area:
    """Finds the box around the ultrasound area.

    What a scanner draws around the scan is flat (panels, bars) or small (text, rulers, logos), and in a video
    it stands still; tissue has speckle nearly everywhere. So: leave out what is flat, break what is thin,
    keep the largest piece and every other large one, and in a video every piece that moves.

    Args:
        statistics: Of the recording's sampled frames.
        settings: How to look.

    Returns:
        The box; the whole frame where cropping is off or nothing stands out.
    """
    height, width = statistics.shape
    whole = Area(0, 0, height, width, False)
    if not settings.crop:
        return whole
    tissue = tissue_map(statistics)
    rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
    if not len(rows) or tissue.mean() < SMALLEST_AREA:
        return whole
    margin = round(MARGIN * max(height, width))
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    bottom, right = min(height, int(rows[-1]) + 1 + margin), min(width, int(columns[-1]) + 1 + margin)
    return Area(top, left, bottom - top, right - left, True)


def tissue_map(statistics: FrameStatistics) -> np.ndarray:
    """Marks the pixels of the ultrasound area.

    Args:
        statistics: Of the recording's sampled frames.

    Returns:
        Shape [H, W], bool.
    """
    live = ~_flat(statistics.highest)
    reach = max(9, round(TEXT_HEIGHT * max(statistics.shape)) | 1)
    if statistics.count >= VIDEO_FRAMES:
        moving = _moving(statistics) & live
        # A paused clip does not move: there, stillness says nothing about what is tissue.
        if moving.mean() > SMALLEST_AREA:
            core = _large_pieces(moving.astype(np.uint8), reach)
            return core | _aligned_pieces(moving, core) | _noise_rows(statistics, core)
    core = _large_pieces(live.astype(np.uint8), reach)
    return core | _dim_rows(statistics.highest, core)


def _moving(statistics: FrameStatistics) -> np.ndarray:
    """Marks pixels near which something moves more than a codec makes still lettering shimmer."""
    window = np.ones((MOTION_WINDOW, MOTION_WINDOW), np.uint8)
    shimmer = SHIMMER * cv2.dilate(statistics.lowest, window).astype(np.float32)
    moves = statistics.deviation() > MOTION + shimmer
    return np.asarray(cv2.dilate(moves.astype(np.uint8), window) > 0)


def _aligned_pieces(moving: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Finds thin moving echoes beyond a shadow: long, inside the core's columns, and not above it.

    A running clock moves too, but is short.
    """
    columns = np.flatnonzero(core.any(axis=0))
    if not len(columns):
        return core
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    slack = round(0.02 * max(moving.shape))
    left, top, width, height, _ = boxes.T
    in_columns = (left >= columns[0] - slack) & (left + width <= columns[-1] + 1 + slack)
    long = np.maximum(width, height) >= LONG_ECHO * max(moving.shape)
    kept = in_columns & long & (top >= int(np.flatnonzero(core.any(axis=1))[0]))
    kept[0] = False
    return np.asarray(kept[pieces])


def _noise_rows(statistics: FrameStatistics, core: np.ndarray) -> np.ndarray:
    """Finds rows below the core where a share of its columns flickers faintly: depth without any echo."""
    rows = np.zeros(core.shape, dtype=bool)
    columns = np.flatnonzero(core.any(axis=0))
    if len(columns):
        window = np.ones((MOTION_WINDOW, MOTION_WINDOW), np.uint8)
        dark = cv2.dilate(statistics.lowest, window) < DARKEST_TEXT
        flickers = (dark & (statistics.deviation() > NOISE))[:, columns[0] : columns[-1] + 1]
        noisy = flickers.mean(axis=1) >= NOISE_SHARE
        noisy[: int(np.flatnonzero(core.any(axis=1))[-1])] = False
        rows[noisy, columns[0] : columns[-1] + 1] = True
    return rows


def _dim_rows(highest: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Finds rows just below the core that are dim, yet not as black as the screen: depth in a still."""
    result = np.zeros(core.shape, dtype=bool)
    columns = np.flatnonzero(core.any(axis=0))
    if not len(columns):
        return result
    edge = np.concatenate([highest[0], highest[-1], highest[:, 0], highest[:, -1]])
    background = int(np.bincount(edge).argmax())
    below = int(np.flatnonzero(core.any(axis=1))[-1]) + 1
    inside = highest[below:, columns[0] : columns[-1] + 1]
    dim = ((inside > background) & (inside < DARKEST_TEXT)).mean(axis=1) >= DIM_SHARE
    depth = len(dim) if dim.all() else int(np.argmin(dim))
    result[below : below + depth, columns[0] : columns[-1] + 1] = True
    return result


def _large_pieces(live: np.ndarray, reach: int) -> np.ndarray:
    """Keeps pieces that are thicker than `reach` px and large, with the fine ends that hang on them."""
    core = cv2.morphologyEx(live, cv2.MORPH_OPEN, np.ones((reach, reach), np.uint8))
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(core)
    if count < 2:
        return np.zeros(live.shape, dtype=bool)
    sizes = boxes[:, cv2.CC_STAT_AREA].astype(float)
    sizes[0] = 0
    kept = sizes >= LARGE_PIECE * sizes.max()
    kept[0] = False
    # Breaking thin things cut the tips of the fan off: what hangs together with the rest within reach comes
    # back.
    near = cv2.dilate(kept[pieces].astype(np.uint8), np.ones((reach, reach), np.uint8)) & live
    count, joined = cv2.connectedComponents(near)
    touching = np.zeros(count, dtype=bool)
    touching[np.unique(joined[kept[pieces]])] = True
    touching[0] = False
    return np.asarray(touching[joined])


def _flat(highest: np.ndarray) -> np.ndarray:
    """Marks every pixel that lies in some window without contrast."""
    window = np.ones((FLAT_WINDOW, FLAT_WINDOW), np.uint8)
    contrast = cv2.dilate(highest, window) - cv2.erode(highest, window)
    return cv2.dilate((contrast <= FLAT_CONTRAST).astype(np.uint8), window).astype(bool)
