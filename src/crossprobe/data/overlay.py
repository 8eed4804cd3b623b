"""Finds what a scanner burnt into the ultrasound area (text, calipers, scale figures) and fills it in.

A network can tell two scanners by their lettering alone. What gives lettering away: a probe resolves far
worse across the beam than a pixel is wide, so tissue never turns from bright to dark within one pixel
sideways, and ink does, on both flanks of a stroke. In a video ink also stands still.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from crossprobe.data.ultrasound_area import VIDEO_FRAMES, Area, FrameStatistics

# Levels; measured on both scanners of BUS-BRA, where they mark lettering and calipers and hardly any speckle.
JUMP = 45
SLANTED_JUMP = 54
DARKEST_INK = 110
# A stroke is at most this share of the longer side wide, and never under 5 px.
STROKE_WIDTH = 0.0125
# A glyph holds at least this many stroke pixels, over this many rows: less is a chance hit in speckle.
SMALLEST_GLYPH_PX = 5
SMALLEST_GLYPH_ROWS = 3
SHARE_OF_STROKES = 0.25
STANDS_STILL = 6.0


class Overlay(NamedTuple):
    """Ink inside an area: its pixels [height, width] of the area, bool, and how many marks they form."""

    mask: np.ndarray
    marks: int


def find_overlay(statistics: FrameStatistics, area: Area) -> Overlay:
    """Finds burnt-in marks.

    Args:
        statistics: Of the recording's sampled frames; a single frame will do.
        area: Where to look.

    Returns:
        Pixels of marks, one pixel of their blurred edge included, and the number of marks; letters that stand
        close count as one.
    """
    box = (slice(area.top, area.top + area.height), slice(area.left, area.left + area.width))
    # Ink is as bright in the darkest frame as in any other; speckle is not.
    image = statistics.lowest[box]
    strokes = _strokes(image, max(5, round(STROKE_WIDTH * max(image.shape))))
    if statistics.count >= VIDEO_FRAMES:
        strokes &= statistics.deviation()[box] < STANDS_STILL
    return _marks(image, strokes)


def fill_overlay(frame: np.ndarray, overlay: Overlay) -> np.ndarray:
    """Fills the marks in from around them (Telea's fast marching, 2004).

    Args:
        frame: Shape [height, width] of the area, uint8.
        overlay: As found in it.

    Returns:
        A new frame of the same shape; the frame itself where there are no marks.
    """
    if not overlay.marks:
        return frame
    return np.asarray(cv2.inpaint(frame, overlay.mask.astype(np.uint8), 3, cv2.INPAINT_TELEA))


def _strokes(image: np.ndarray, widest: int) -> np.ndarray:
    """Marks runs of bright pixels along a row, at most `widest` long, with a sharp flank at both ends."""
    levels = image.astype(np.int16)
    step = np.diff(levels, axis=1)
    double = levels[:, 2:] - levels[:, :-2]
    rise = np.zeros(image.shape, dtype=bool)
    fall = np.zeros(image.shape, dtype=bool)
    rise[:, 1:] = step >= JUMP
    fall[:, :-1] = step <= -JUMP
    rise[:, 2:] |= double >= SLANTED_JUMP
    fall[:, :-2] |= double <= -SLANTED_JUMP
    bright = image >= DARKEST_INK
    strokes = np.zeros(image.shape, dtype=bool)
    starts = bright & rise
    columns = image.shape[1]
    for length in range(min(widest, columns)):
        # `starts[:, x]`: bright from x to x + length, with a rising flank at x.
        ends = starts[:, : columns - length] & fall[:, length:]
        for offset in range(length + 1):
            strokes[:, offset : columns - length + offset] |= ends
        if length + 1 < columns:
            starts[:, : columns - length - 1] &= bright[:, length + 1 :]
            starts[:, columns - length - 1 :] = False
    return strokes


def _marks(image: np.ndarray, strokes: np.ndarray) -> Overlay:
    """Drops chance hits, and adds the parts of glyphs that are no upright strokes."""
    reach = np.ones((5, 9), np.uint8)
    near = cv2.dilate(strokes.astype(np.uint8), reach)
    count, pieces = cv2.connectedComponents(near)
    amount = np.bincount(pieces[strokes], minlength=count)
    rows = np.zeros(count, dtype=int)
    held = np.unique(np.stack([pieces[strokes], np.nonzero(strokes)[0]]), axis=1)
    np.add.at(rows, held[0], 1)
    is_mark = (amount >= SMALLEST_GLYPH_PX) & (rows >= SMALLEST_GLYPH_ROWS)
    is_mark[0] = False
    inside = is_mark[pieces]
    ink = strokes & inside
    # Crossbars are thin the other way, so a top-hat finds them: those close to a stroke, and those that hang
    # on one.
    thin = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, np.ones((7, 7), np.uint8)) >= JUMP
    thin &= image >= DARKEST_INK
    count, parts = cv2.connectedComponents(thin.astype(np.uint8))
    share = np.bincount(parts[ink], minlength=count) / np.bincount(parts.ravel(), minlength=count)
    hangs = share >= SHARE_OF_STROKES
    hangs[0] = False
    ink |= (thin & inside) | hangs[parts]
    mask = cv2.dilate(ink.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return Overlay(mask, int(is_mark.sum()))
