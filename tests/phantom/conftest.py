"""Uniform tissue without bone or layers: the phantom's physics alone, for probes of our choosing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from crossprobe.phantom.anatomy import GRID_X_MM, GRID_Y_MM, Anatomy, Interface
from crossprobe.phantom.image_formation import ImageFormer
from crossprobe.phantom.settings import PhantomSettings, ProbeSettings
from crossprobe.phantom.sweep import SweepPlan
from crossprobe.phantom.tissue import Scatterers, place_scatterers


def still_plan(elevation_mm: np.ndarray, depth_mm: float) -> SweepPlan:
    frames = len(elevation_mm)
    zeros = np.zeros(frames)
    return SweepPlan("dorsal", depth_mm, 0.0, 0.0, 0.0, elevation_mm, zeros, zeros, zeros, 0.0, np.zeros(64))


def bare_anatomy(probe: ProbeSettings, reach_mm: float, bone_mm: float = np.nan) -> Anatomy:
    half = probe.width_mm / 2 + 3
    x = np.arange(-half, half, GRID_X_MM, dtype=np.float32)
    y = np.arange(-reach_mm, reach_mm, GRID_Y_MM, dtype=np.float32)
    flat = np.zeros((len(y), len(x)), np.float32)
    bone = np.full_like(flat, bone_mm)
    present = np.isfinite(bone).astype(np.int8)
    return Anatomy(x, y, 0.0, flat, flat, flat, bone, bone, present, flat, 0.0, None)


@pytest.fixture
def plain_probe() -> ProbeSettings:
    """The source's probe with one look, no noise and flat gains."""
    probe = PhantomSettings().source.probe
    return probe.model_copy(
        update={
            "compounding": 1,
            "noise_db": -100.0,
            "noise_slope_db": 0.0,
            "attenuation_error_db": 0.0,
            "edge_loss": 0.0,
            "width_mm": 20.0,
            "depth_mm": (24.0, 24.0),
        }
    )


@pytest.fixture
def former() -> Callable[..., ImageFormer]:
    """Builds an image former over uniform tissue of mean echo 1, or over nothing but a flat bone."""

    def build(
        probe: ProbeSettings,
        elevation_mm: tuple[float, ...] = (0.0,),
        bone_mm: float = np.nan,
        tissue: bool = True,
        seed: int = 0,
    ) -> ImageFormer:
        depth = probe.depth_mm[1]
        reach = max(abs(value) for value in elevation_mm) + 5
        anatomy = bare_anatomy(probe, reach, bone_mm)
        slope = np.zeros_like(anatomy.bone)
        bone = Interface(anatomy.bone, slope, slope, slope)
        half = probe.width_mm / 2 + 2
        box = ((-half, half), (-reach, reach), (0.0, depth))
        if tissue:
            cloud = place_scatterers(box, probe, np.random.default_rng(seed))
        else:
            cloud = Scatterers(*(np.zeros(0, np.float32) for _ in range(3)), np.zeros(0, np.complex64))
        plan = still_plan(np.asarray(elevation_mm), depth)
        return ImageFormer(probe, PhantomSettings().anatomy, anatomy, cloud, (bone, []), plan)

    return build
