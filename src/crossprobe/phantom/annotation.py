"""Masks: the bony surface band as it is, and as an expert or a novice draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from crossprobe.phantom.anatomy import Anatomy
from crossprobe.phantom.settings import AnatomySettings, AnnotatorSettings
from crossprobe.phantom.sweep import SweepPlan


@dataclass(frozen=True)
class SurfaceLine:
    """The bony surface in one frame, one value a pixel column of the ultrasound area.

    `depth_mm` [W] is NaN where no bone faces the probe; `bone_id` [W] tells the bones apart (0: none).
    """

    depth_mm: np.ndarray
    bone_id: np.ndarray
    spacing_mm: float


def surface_line(
    anatomy: Anatomy, plan: SweepPlan, frame: int, width_mm: float, columns: int, spacing_mm: float
) -> SurfaceLine:
    """Reads the bony surface off the anatomy, where this frame's slice cuts it.

    Args:
        anatomy: The wrist.
        plan: The sweep.
        frame: Which frame.
        width_mm: Width of the image.
        columns: Its width in pixels.
        spacing_mm: Side of a pixel.

    Returns:
        The line.
    """
    x = (np.arange(columns) + 0.5) * (width_mm / columns) - width_mm / 2
    row = anatomy.row(plan.elevation_mm[frame : frame + 1])[0]
    column = anatomy.column(x - plan.drift_mm[frame])
    depth = anatomy.bone[row, column] + plan.pressure_mm[frame]
    return SurfaceLine(depth.astype(np.float64), anatomy.bone_id[row, column], spacing_mm)


def band_mask(line: SurfaceLine, above_mm: float, below_mm: float, height: int) -> np.ndarray:
    """Paints the band around a surface line, as thick measured across a slope as along the level.

    Args:
        line: The surface.
        above_mm: Band towards the probe.
        below_mm: Band away from it.
        height: Rows of the mask.

    Returns:
        uint8 0/1 [height, W].
    """
    depth = line.depth_mm
    slope = np.zeros_like(depth)
    if np.isfinite(depth).sum() > 1:
        slope = np.nan_to_num(np.gradient(depth, line.spacing_mm))
    slant = np.minimum(np.sqrt(1 + slope**2), 1.6)
    rows = (np.arange(height)[:, None] + 0.5) * line.spacing_mm
    with np.errstate(invalid="ignore"):
        inside = (rows >= depth - above_mm * slant) & (rows <= depth + below_mm * slant)
    return inside.astype(np.uint8)


def true_mask(line: SurfaceLine, settings: AnatomySettings, height: int) -> np.ndarray:
    """The known answer: the bony surface band.

    Args:
        line: The surface.
        settings: Gives the band's extent.
        height: Rows of the mask.

    Returns:
        uint8 0/1 [height, W].
    """
    return band_mask(line, settings.band_above_mm, settings.band_below_mm, height)


@dataclass(frozen=True)
class Hand:
    """How one annotator draws throughout one video: bias in mm, thickness ratio, bones overlooked."""

    shift_mm: float
    thickness: float
    missed: frozenset[int]


def steady_hand(annotator: AnnotatorSettings, random: np.random.Generator) -> Hand:
    """Draws the habits that stay the same over a video.

    Args:
        annotator: Whose habits.
        random: Where the numbers come from.

    Returns:
        The hand; the radius is never overlooked.
    """
    draws = random.random(3)
    missed = (bone for bone, draw in zip((2, 3, 4), draws, strict=True) if draw < annotator.missed_bone)
    return Hand(
        shift_mm=annotator.shift_mm + annotator.shift_sd_mm * random.normal(),
        thickness=annotator.thickness * float(np.exp(annotator.thickness_sd * random.normal())),
        missed=frozenset(missed),
    )


def drawn_mask(
    line: SurfaceLine,
    settings: AnatomySettings,
    annotator: AnnotatorSettings,
    height: int,
    hand: Hand,
    random: np.random.Generator,
) -> np.ndarray:
    """The label: what this annotator outlines, given the same surface.

    Args:
        line: The surface.
        settings: Gives the true band's extent.
        annotator: Wobble, smoothing, and ends left off.
        height: Rows of the mask.
        hand: The habits of this video.
        random: Where the hand's wander comes from.

    Returns:
        uint8 0/1 [height, W].
    """
    ids = np.where(np.isin(line.bone_id, list(hand.missed)), 0, line.bone_id)
    depth = _trimmed(np.where(ids > 0, line.depth_mm, np.nan), annotator.end_trim_mm / line.spacing_mm)
    bridged = _smooth(depth, annotator.smoothing_mm / line.spacing_mm)
    wander = annotator.wobble_mm * _wobble(len(depth), annotator.wobble_length_mm / line.spacing_mm, random)
    middle = (settings.band_below_mm - settings.band_above_mm) / 2 + hand.shift_mm
    half = hand.thickness * (settings.band_above_mm + settings.band_below_mm) / 2
    drawn = SurfaceLine(bridged + wander, ids, line.spacing_mm)
    return band_mask(drawn, half - middle, half + middle, height)


def _trimmed(depth: np.ndarray, pixels: float) -> np.ndarray:
    """Takes `pixels` off both ends of every run, but never more than a quarter of it."""
    there = np.isfinite(depth).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]])))
    result = depth.copy()
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        cut = int(min(pixels, (stop - start) / 4))
        # The image border is no end of a bone.
        result[start : start + cut * (start > 0)] = np.nan
        result[stop - cut * (stop < len(depth)) : stop] = np.nan
    return result


def _smooth(depth: np.ndarray, sigma: float) -> np.ndarray:
    """Rounds the line and bridges gaps shorter than the smoothing length."""
    there = np.isfinite(depth)
    if sigma < 0.5 or there.sum() < 2:
        return depth
    filled = np.interp(np.arange(len(depth)), np.flatnonzero(there), depth[there])
    smooth = gaussian_filter1d(filled, sigma / 2, mode="nearest")
    close = gaussian_filter1d(there.astype(float), sigma / 2, mode="nearest") > 0.5
    return np.where(there | close, smooth, np.nan)


def _wobble(columns: int, length: float, random: np.random.Generator) -> np.ndarray:
    noise = gaussian_filter1d(random.normal(size=columns), max(length / 2, 0.5), mode="wrap")
    return noise / max(float(noise.std()), 1e-9)
