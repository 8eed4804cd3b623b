"""Finds the ultrasound area of a recording, so that text, rulers and logos outside it go."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field


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
    live = (statistics.highest > 12).astype(np.uint8)
    live = cv2.morphologyEx(live, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    live = cv2.morphologyEx(live, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(live)
    if count < 2:
        return whole
    left, top, box_width, box_height, _ = boxes[1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))]
    if box_height * box_width < 0.1 * height * width:
        return whole
    return Area(int(top), int(left), int(box_height), int(box_width), True)
