"""A sweep: where the probe is at every frame of one video, and how well it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from crossprobe.phantom.settings import SiteSettings


@dataclass(frozen=True)
class SweepPlan:
    """One video's worth of probe poses.

    `elevation_mm`, `drift_mm` and `pressure_mm` have one value a frame: the slice position across the
    wrist, the lateral and the axial displacement of tissue under the probe. `tilt_deg` and `offset_mm` hold
    for the whole video. `contact_width_mm` is, per frame, the width of the end that has lost contact
    (negative: left end) and `contact_loss_db` what is lost there. `patch_db` [64] is the patchy loss over
    equal stretches of the aperture, which the probe carries along.
    """

    view: str
    depth_mm: float
    gain_db: float
    tilt_deg: float
    offset_mm: float
    elevation_mm: np.ndarray
    drift_mm: np.ndarray
    pressure_mm: np.ndarray
    contact_width_mm: np.ndarray
    contact_loss_db: float
    patch_db: np.ndarray

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.elevation_mm)


def plan_sweep(site: SiteSettings, view: str, random: np.random.Generator) -> SweepPlan:
    """Draws the path of one sweep; it is centred on the middle of the bone, a little off.

    Args:
        site: Whose probe and operator.
        view: Which view the sweep shows.
        random: Where the numbers come from.

    Returns:
        The plan.
    """
    operator = site.operator
    frames = site.frames_per_video
    steps = random.uniform(*operator.mm_per_frame, frames) * random.choice((-1.0, 1.0))
    path = np.cumsum(steps) - steps[0]
    side = random.choice((-1.0, 1.0))
    width = operator.coupling_width_mm * random.gamma(2.0, 0.5) + _wander(frames, random)
    return SweepPlan(
        view=view,
        depth_mm=float(np.round(random.uniform(*site.probe.depth_mm))),
        gain_db=float(operator.gain_db * _clipped_normal(random)),
        tilt_deg=float(operator.tilt_deg * _clipped_normal(random)),
        offset_mm=float(operator.offset_mm * _clipped_normal(random)),
        elevation_mm=path - path.mean() + random.normal(0.0, 1.2),
        drift_mm=operator.drift_mm * _wander(frames, random),
        pressure_mm=operator.pressure_mm * _wander(frames, random),
        contact_width_mm=side * np.maximum(width, 0.0),
        contact_loss_db=float(operator.coupling_loss_db * random.gamma(4.0, 0.25)),
        patch_db=operator.coupling_patch_db * _patches(random),
    )


def _clipped_normal(random: np.random.Generator) -> float:
    return float(np.clip(random.normal(), -2.0, 2.0))


def _wander(frames: int, random: np.random.Generator) -> np.ndarray:
    """Slow random motion of unit standard deviation, zero at the first frame."""
    smooth = gaussian_filter1d(random.normal(size=frames + 16), 3.0)[8 : frames + 8] * 3.2
    return smooth - smooth[0]


def _patches(random: np.random.Generator) -> np.ndarray:
    """Loss over the aperture, about unit standard deviation and never a gain: none here, some there."""
    smooth = gaussian_filter1d(random.normal(size=96), 2.5)[16:80] * 2.98
    return np.minimum(smooth, 0.0) * 1.7
