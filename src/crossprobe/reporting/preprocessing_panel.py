"""Frames before and after each step of the preprocessing chain."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.overlay import fill_overlay, find_overlay
from crossprobe.data.preprocessing import cropped_area, stages
from crossprobe.data.ultrasound_area import FrameStatistics, find_area
from crossprobe.data.video import read_frames
from crossprobe.errors import UnreadableMedia
from crossprobe.reporting.style import drawing

logger = logging.getLogger(__name__)


def frame_stages(frame: np.ndarray, settings: FrameSettings) -> list[tuple[str, np.ndarray]]:
    """Shows a frame as recorded and after everything that is done to it before it is squared.

    Args:
        frame: Shape [H, W], uint8, as recorded.
        settings: How frames are made.

    Returns:
        Name and frame, each [h, w] uint8: as recorded, cropped, filled in where that is asked for, and after
        each step. The area is looked for in this one frame, so it may differ from a whole video's.
    """
    statistics = FrameStatistics(frame.shape)
    statistics.update(frame)
    area = cropped_area(find_area(statistics, settings.area), settings.preprocessing)
    cropped = np.ascontiguousarray(
        frame[area.top : area.top + area.height, area.left : area.left + area.width]
    )
    shown = [("as recorded", frame), ("cropped", cropped)]
    if settings.overlay == "inpaint":
        cropped = fill_overlay(cropped, find_overlay(statistics, area))
        shown.append(("marks filled in", cropped))
    shown.extend((name.replace("_", " "), after) for name, after in stages(cropped, settings.preprocessing))
    return shown


def preprocessing_panel(recordings: pd.DataFrame, settings: FrameSettings, frames: int = 3) -> Figure:
    """Draws the first frame of evenly spread recordings, a row each, and a column each stage.

    Args:
        recordings: Table that fits `RecordingSchema`, of one site.
        settings: How frames are made.
        frames: Most rows.

    Returns:
        The figure; recordings that cannot be read are left out.

    Raises:
        UnreadableMedia: None can be read.
    """
    ordered = recordings.sort_values(["class", "video"], kind="stable")
    places = np.linspace(0, len(ordered) - 1, min(frames, len(ordered))).round().astype(int)
    rows = []
    for path in ordered["path"].iloc[np.unique(places)]:
        try:
            _, frame = next(iter(read_frames(Path(path))))
        except (UnreadableMedia, StopIteration) as error:
            logger.warning("left out of the preprocessing panel: %s", error)
        else:
            rows.append(frame_stages(frame, settings))
    if not rows:
        raise UnreadableMedia(f"none of the {len(places)} recordings chosen for the panel can be read")
    with drawing():
        figure = Figure(figsize=(2.3 * len(rows[0]), 2.1 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for axes, (name, frame) in zip(line, row, strict=True):
                axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
                axes.set_axis_off()
                axes.set_title(name, fontsize=8)
    return figure
