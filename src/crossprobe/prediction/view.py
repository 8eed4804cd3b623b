"""The part of a recording that a model looks at: chosen once a clip, then applied frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossprobe.data.geometry import square, unsquare
from crossprobe.data.overlay import Overlay, fill_overlay, find_overlay
from crossprobe.data.preprocessing import Chain, cropped_area, preprocess
from crossprobe.data.ultrasound_area import Area, FrameStatistics, find_area
from crossprobe.errors import UnreadableMedia
from crossprobe.prediction.stream_settings import StreamSettings


@dataclass(frozen=True)
class View:
    """Where the ultrasound area of a clip lies, and how a frame gets to the model and back.

    Attributes:
        shape: Height and width of the frames as recorded, px.
        area: The box that is kept.
        overlay: Marks inside it that are filled in; None where they are left alone.
        preprocessing: Steps that change what is left.
    """

    shape: tuple[int, int]
    area: Area
    overlay: Overlay | None
    preprocessing: Chain = ()

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """The box as top, left, height and width, px."""
        return self.area.top, self.area.left, self.area.height, self.area.width

    def square(self, frame: np.ndarray, size: int) -> np.ndarray:
        """Prepares a frame for a model.

        Args:
            frame: uint8 [H, W], of the view's shape.
            size: Side of the model's images, px.

        Returns:
            uint8 [size, size].
        """
        top, left, height, width = self.crop
        cropped = np.ascontiguousarray(frame[top : top + height, left : left + width])
        if self.overlay is not None:
            cropped = fill_overlay(cropped, self.overlay)
        return square(np.ascontiguousarray(preprocess(cropped, self.preprocessing)), size)

    def native(self, values: np.ndarray) -> np.ndarray:
        """Brings a map of the model back to the frame as recorded; what the crop left out is 0.

        Args:
            values: float32 [S, S].

        Returns:
            float32 [H, W].
        """
        top, left, height, width = self.crop
        canvas = np.zeros(self.shape, dtype=np.float32)
        canvas[top : top + height, left : left + width] = unsquare(values, height, width)
        return canvas


def find_view(frames: Sequence[np.ndarray], settings: StreamSettings) -> View:
    """Decides from some frames of a clip what the model looks at, as the frames stage does for a file.

    Args:
        frames: uint8 [H, W] each, in order, at least one; evenly spread ones are looked at, and those of
            another size than the first are passed over.
        settings: How to look.

    Returns:
        The view.

    Raises:
        UnreadableMedia: If the ultrasound area is smaller than the settings allow.
    """
    statistics = FrameStatistics(frames[0].shape)
    for frame in frames[:: max(1, len(frames) // settings.area.sampled_frames)]:
        if frame.shape == statistics.shape:
            statistics.update(frame)
    area = cropped_area(find_area(statistics, settings.area), settings.preprocessing)
    if min(area.height, area.width) < settings.smallest_side_px:
        raise UnreadableMedia(
            f"the ultrasound area is {area.width}x{area.height} px, below the smallest side of "
            f"{settings.smallest_side_px} px; give larger frames or lower smallest_side_px"
        )
    overlay = find_overlay(statistics, area) if settings.overlay == "inpaint" else None
    return View(statistics.shape, area, overlay, settings.preprocessing)
