"""Writes what was predicted on one clip: PNG files and an overlay video. Nothing is kept in memory."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.judged import Judged
from crossprobe.prediction.picture import confidence_picture, mask_picture, png_bytes

OUTLINE = (255, 200, 0)  # blue, green, red
TO_READ = (0, 140, 255)
FRAME_COLUMNS = (
    "file", "output", "frame", "height", "width", "area_px", "spacing_mm", "area_mm2", "confidence", "read",
)  # fmt: skip


class Sink(Protocol):
    """Takes the frames of one clip in order."""

    def add(self, judged: Judged) -> None:
        """Takes a frame.

        Args:
            judged: What was predicted, with the frame itself.
        """

    def close(self) -> None:
        """Finishes the file."""

    def abandon(self) -> None:
        """Lets go of the file, which will be deleted."""


class PngSink:
    """One PNG a frame, of the mask or of the confidence.

    Args:
        folder: Made here.
        what: `mask` or `confidence`.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self.what = folder, what
        folder.mkdir()

    def add(self, judged: Judged) -> None:
        """Writes a picture of the frame's native size."""
        prediction = judged.prediction
        if self.what == "mask":
            picture = mask_picture(prediction.mask)
        else:
            picture = confidence_picture(prediction.confidence)
        (self.folder / f"{prediction.frame:06d}.png").write_bytes(png_bytes(picture))

    def close(self) -> None:
        """Every picture is already complete."""

    def abandon(self) -> None:
        """Nothing is open."""


class OverlaySink:
    """The clip with outlines, as mp4; a still image as PNG.

    Args:
        folder: Where the file goes.
        frames_per_second: Of the clip; None for a still image.
    """

    def __init__(self, folder: Path, frames_per_second: float | None) -> None:
        self.folder, self.rate = folder, frames_per_second
        self.writer: cv2.VideoWriter | None = None

    def add(self, judged: Judged) -> None:
        """Draws a frame.

        Raises:
            CrossprobeError: OpenCV has no encoder for mp4.
        """
        picture = draw_outline(judged)
        if self.rate is None:
            (self.folder / "overlay.png").write_bytes(png_bytes(picture))
            return
        # The codec wants even sides: a row or column of black is added at the end.
        height, width = picture.shape[:2]
        picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
        if self.writer is None:
            size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self.writer = cv2.VideoWriter(str(self.folder / "overlay.mp4"), code, self.rate, size)
            if not self.writer.isOpened():
                raise CrossprobeError(
                    "OpenCV cannot write mp4 here; switch the overlay off (--no-overlay-video)"
                )
        self.writer.write(picture)

    def close(self) -> None:
        """Finishes the video."""
        if self.writer is not None:
            self.writer.release()

    def abandon(self) -> None:
        """Releases the encoder."""
        self.close()


class TableSink:
    """One row a frame, as CSV.

    Args:
        path: The file.
        file: Name of the input, as the user knows it.
        output: Name of the folder of its outputs.
        spacing_mm: Side of a pixel, where known.
    """

    def __init__(self, path: Path, file: str, output: str, spacing_mm: float | None) -> None:
        self.file, self.output, self.spacing_mm = file, output, spacing_mm
        self.stream = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self.rows = csv.writer(self.stream)
        self.rows.writerow(FRAME_COLUMNS)
        self.frames = self.to_read = 0

    def add(self, judged: Judged) -> None:
        """Writes a row."""
        prediction = judged.prediction
        area = judged.area_mm2(self.spacing_mm)
        self.rows.writerow([
            self.file, self.output, prediction.frame, *prediction.mask.shape, prediction.area_px,
            "" if self.spacing_mm is None else f"{self.spacing_mm:.6g}",
            "" if area is None else f"{area:.2f}",
            "" if judged.confidence is None else f"{judged.confidence:.4f}",
            judged.read,
        ])  # fmt: skip
        self.frames += 1
        self.to_read += bool(judged.read)

    def close(self) -> None:
        """Finishes the table."""
        self.stream.close()

    def abandon(self) -> None:
        """Closes the file."""
        self.stream.close()


def draw_outline(judged: Judged) -> np.ndarray:
    """Draws the outline of the mask, and a bar at the top of a frame that a person should read.

    Args:
        judged: A frame and what was predicted on it.

    Returns:
        uint8 [H, W, 3], BGR.
    """
    frame = judged.prediction.recorded
    picture = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    outlines, _ = cv2.findContours(judged.prediction.mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, OUTLINE, max(1, min(frame.shape) // 300))
    if judged.read:
        picture[: max(2, frame.shape[0] // 60)] = TO_READ
    return picture
