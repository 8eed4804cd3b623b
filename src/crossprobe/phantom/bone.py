"""The bony surface of a wrist: radius, growth plate, epiphysis and carpal row, whole or broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

FractureKind = Literal["none", "step", "buckle", "gap"]


@dataclass(frozen=True)
class Fracture:
    """A break of the radius: its kind, size in mm, distance from the growth plate and obliquity."""

    kind: FractureKind
    size_mm: float
    from_physis_mm: float
    obliquity: float
    width_mm: float


@dataclass(frozen=True)
class BoneShape:
    """What makes one patient's bones theirs, seen from one view; lengths in mm, x grows towards the hand."""

    physis_x: float
    gap: float
    depth: float
    slope: float
    flare: float
    flare_length: float
    cross_radius: float
    epiphysis_length: float
    carpal_length: float
    carpal_drop: float
    phase: float


def bone_surface(
    shape: BoneShape, fracture: Fracture, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lays the bones over a grid of the skin plane.

    Args:
        shape: The patient's bones in this view.
        fracture: What is broken, if anything.
        x: [X] lateral positions in mm, along the forearm.
        y: [Y] elevational positions in mm, across it.

    Returns:
        depth in mm, [Y, X], NaN where no bone faces the probe; and which bone it is, int8 [Y, X]: 0 none,
        1 radius, 2 epiphysis, 3 and 4 carpals.
    """
    across, along = np.meshgrid(y, x, indexing="ij")
    drop = across**2 / (2 * shape.cross_radius) + 0.04 * across
    physis = shape.physis_x + 0.15 * np.sin(0.5 * across + shape.phase)
    radius = _radius(shape, along, across, physis) + drop
    radius = _broken(radius, fracture, along, across, physis)
    bones = [radius]
    start = physis + shape.gap / 2
    bones.append(_dome(along, start, shape.epiphysis_length, shape.depth - 0.5 * shape.flare, 16.0) + drop)
    start = start + shape.epiphysis_length + 2.6
    for order in range(2):
        top = shape.depth + shape.carpal_drop * (1.0 - 0.25 * order)
        bones.append(_dome(along, start, shape.carpal_length, top, 8.5) + 1.3 * drop)
        start = start + shape.carpal_length + 1.9
    stack = np.stack([np.where(np.isnan(bone), np.inf, bone) for bone in bones])
    which = np.argmin(stack, axis=0)
    depth = np.take_along_axis(stack, which[None], axis=0)[0]
    missing = np.isinf(depth)
    depth = np.where(missing, np.nan, depth + shape.slope * (along - shape.physis_x))
    return depth.astype(np.float32), np.where(missing, 0, which + 1).astype(np.int8)


def _radius(shape: BoneShape, along: np.ndarray, across: np.ndarray, physis: np.ndarray) -> np.ndarray:
    """Shaft that flares towards the growth plate and rolls off at its edge; NaN beyond it."""
    before = (physis - shape.gap / 2) - along
    flare = shape.flare * np.exp(-np.maximum(before, 0.0) / shape.flare_length)
    undulation = 0.10 * np.sin(0.55 * along + shape.phase) + 0.06 * np.sin(1.3 * along + 0.7 * across)
    rolled = 0.4 * np.clip((1.3 - before) / 1.3, 0.0, None) ** 2
    return np.where(before >= 0.0, shape.depth - flare + undulation + rolled, np.nan)


def _dome(along: np.ndarray, start: np.ndarray, length: float, top: float, radius: float) -> np.ndarray:
    """A rounded bone from `start` over `length`: an arc whose ends turn away from the probe."""
    away = along - (start + length / 2)
    share = np.abs(away) / (length / 2)
    rolled = 0.45 * np.clip((share - 0.78) / 0.22, 0.0, 1.0) ** 2
    return np.where(share <= 1.0, top + away**2 / (2 * radius) + rolled, np.nan)


def _broken(
    radius: np.ndarray, fracture: Fracture, along: np.ndarray, across: np.ndarray, physis: np.ndarray
) -> np.ndarray:
    """Puts the fracture into the radius; its line runs obliquely across the bone."""
    if fracture.kind == "none":
        return radius
    beyond = along - (physis - fracture.from_physis_mm + fracture.obliquity * across)
    size = fracture.size_mm
    if fracture.kind == "step":
        # The distal fragment is pushed away from the probe and tilts back to level at the growth plate.
        back = 1.0 - np.clip(beyond / fracture.from_physis_mm, 0.0, 1.0) * 0.7
        return radius + np.where(beyond > 0.0, size * back, 0.0)
    if fracture.kind == "buckle":
        skewed = np.where(beyond > 0.0, 0.75, 1.25) * fracture.width_mm
        return radius - size * np.exp(-0.5 * (beyond / skewed) ** 2)
    lip = 0.5 * np.exp(-np.maximum(np.abs(beyond) - size / 2, 0.0) / 0.6)
    return np.where(
        np.abs(beyond) < size / 2, np.nan, radius + lip + np.where(beyond > 0.0, 0.35 * size, 0.0)
    )
