"""How echoes become a picture: scatterers and mirrors, point spread, shadow, noise, compounding, log map.

Complex baseband all the way to the envelope, so that speckle, its size and its statistics come out of
interference and are not painted on. Lengths in mm; echoes relative to full scale, cortex at normal incidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from crossprobe.phantom.anatomy import GRID_X_MM, Anatomy, Interface
from crossprobe.phantom.settings import AnatomySettings, ProbeSettings
from crossprobe.phantom.sweep import SweepPlan
from crossprobe.phantom.tissue import (
    SCATTERERS_PER_CELL,
    SPEED_MM_PER_US,
    Scatterers,
    axial_sigma_mm,
    cell_volume_mm3,
)

ELEVATION_REACH = 2.4
SHADOW_PENUMBRA_MM = 0.5


@dataclass(frozen=True)
class Grid:
    """Samples of the beamformed image: depth `z` [Z] and lateral `x` [X] in mm, with their steps."""

    z: np.ndarray
    x: np.ndarray
    step_z: float
    step_x: float

    @classmethod
    def of(cls, probe: ProbeSettings, depth_mm: float) -> Grid:
        """The coarsest grid that still samples the probe's point spread."""
        step_z = max(1.1 * axial_sigma_mm(probe), 0.03)
        step_x = 0.5 * probe.lateral_sigma_mm
        columns = int(np.ceil(probe.width_mm / step_x)) + 1
        x = np.linspace(-probe.width_mm / 2, probe.width_mm / 2, columns, dtype=np.float32)
        rows = int(np.ceil(depth_mm / step_z)) + 1
        z = np.linspace(0.0, depth_mm, rows, dtype=np.float32)
        return cls(z, x, float(z[1] - z[0]), float(x[1] - x[0]))

    @property
    def shape(self) -> tuple[int, int]:
        """(Z, X)."""
        return len(self.z), len(self.x)


def spread(sigma_mm: float, probe: ProbeSettings, depth_mm: np.ndarray) -> np.ndarray:
    """Beam width over depth: a Gaussian beam, narrowest at the focus.

    Args:
        sigma_mm: Sigma at the focus.
        probe: Gives focus and depth of field.
        depth_mm: Depths, any shape.

    Returns:
        Sigma in mm, the shape of `depth_mm`.
    """
    return sigma_mm * np.sqrt(1 + ((depth_mm - probe.focus_mm) / probe.depth_of_field_mm) ** 2)


def look_angles(probe: ProbeSettings) -> np.ndarray:
    """Steering angles of the compounded looks, radians; one look points straight down."""
    if probe.compounding == 1:
        return np.zeros(1)
    half = np.deg2rad(probe.compounding_span_deg) / 2
    return np.linspace(-half, half, probe.compounding)


class ImageFormer:
    """Forms the frames of one sweep through one anatomy; each call of `envelope` is one frame's echo."""

    def __init__(
        self,
        probe: ProbeSettings,
        tissue: AnatomySettings,
        anatomy: Anatomy,
        cloud: Scatterers,
        mirrors: tuple[Interface, list[Interface]],
        plan: SweepPlan,
    ):
        """Prepares what all frames share.

        Args:
            probe: The probe.
            tissue: How the cortex answers to angle.
            anatomy: The wrist.
            cloud: Its scatterers.
            mirrors: Its bone and its soft interfaces.
            plan: The sweep.
        """
        self.probe, self.tissue, self.anatomy, self.cloud, self.plan = probe, tissue, anatomy, cloud, plan
        self.bone, self.soft = mirrors
        self.grid = Grid.of(probe, plan.depth_mm)
        self.angles = look_angles(probe)
        self.wave_number = 4 * np.pi * probe.centre_mhz / SPEED_MM_PER_US
        self.elevation = spread(probe.elevation_sigma_mm, probe, cloud.z).astype(np.float32)
        self.reach = ELEVATION_REACH * float(self.elevation.max()) if len(cloud.z) else 0.0
        self.looks = [
            cloud.amplitude * np.exp(-1j * np.float32(self.wave_number * np.sin(angle)) * cloud.x)
            if angle
            else cloud.amplitude
            for angle in self.angles
        ]
        lateral = spread(probe.lateral_sigma_mm, probe, self.grid.z)
        self.padded = fft.next_fast_len(self.grid.shape[1] + int(6 * lateral.max() / self.grid.step_x))
        frequency = fft.fftfreq(self.padded, self.grid.step_x)
        response = np.exp(-2 * (np.pi * frequency[None, :] * lateral[:, None]) ** 2)
        # The kernel has unit energy at every depth: speckle keeps its level, mirrors keep it at the focus.
        energy = np.sqrt(2 * np.sqrt(np.pi) * lateral[:, None] / self.grid.step_x)
        self.response = (response * energy).astype(np.float32)
        self.speckle_level, self.mirror_level = self._levels()

    def envelope(self, frame: int, random: np.random.Generator) -> np.ndarray:
        """Forms one frame before compression.

        Args:
            frame: Which frame of the sweep.
            random: Where its electronic noise comes from.

        Returns:
            Echo amplitude relative to full scale, float32 [Z, X].
        """
        place, weight, part = self._slab(frame)
        columns = self._mirror_columns(frame)
        gain, noise = self._gains(frame)
        total = np.zeros(self.grid.shape, np.float32)
        for angle, look in zip(self.angles, self.looks, strict=True):
            tissue = self._splat(place, look[part] * weight)
            tissue *= self._shadow(columns, angle)
            tissue += self._mirrors(columns, angle, frame)
            echo = self._blur(tissue)
            echo += noise * self._band_limited(_complex_normal(echo.shape, random))
            total += np.abs(echo) * gain
        return total / len(self.angles)

    def _levels(self) -> tuple[float, float]:
        """Scales that give speckle unit mean square and a flat mirror in focus unit height."""
        probe, grid = self.probe, self.grid
        density = SCATTERERS_PER_CELL / cell_volume_mm3(probe)
        cell = grid.step_z * grid.step_x * probe.elevation_sigma_mm * np.sqrt(np.pi)
        axial, lateral = axial_sigma_mm(probe) / grid.step_z, probe.lateral_sigma_mm / grid.step_x
        peak = np.sqrt(2 * axial * np.sqrt(np.pi)) / (axial * np.sqrt(2 * np.pi))
        total = np.sqrt(2 * lateral * np.sqrt(np.pi))
        return float(1 / np.sqrt(density * cell)), float(GRID_X_MM / grid.step_x / (peak * total))

    def _slab(self, frame: int) -> tuple[np.ndarray, np.ndarray, slice]:
        """Grid cells and elevational weights of the scatterers the beam's thickness reaches."""
        plan, cloud, grid = self.plan, self.cloud, self.grid
        middle = plan.elevation_mm[frame]
        first, last = np.searchsorted(cloud.y, (middle - self.reach, middle + self.reach))
        part = slice(int(first), int(last))
        column = np.rint((cloud.x[part] + plan.drift_mm[frame] - grid.x[0]) / grid.step_x).astype(np.int32)
        row = np.rint((cloud.z[part] + plan.pressure_mm[frame]) / grid.step_z).astype(np.int32)
        inside = (column >= 0) & (column < grid.shape[1]) & (row >= 0) & (row < grid.shape[0])
        sigma = self.elevation[part]
        weight = np.exp(-0.5 * ((cloud.y[part] - np.float32(middle)) / sigma) ** 2)
        # Energy over the slice thickness stays one, wherever the beam is wide.
        weight *= inside * np.sqrt(self.probe.elevation_sigma_mm / sigma)
        weight *= np.float32(self.speckle_level)
        return np.where(inside, row * grid.shape[1] + column, 0), weight.astype(np.float32), part

    def _splat(self, place: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
        cells = self.grid.shape[0] * self.grid.shape[1]
        field = np.empty(cells, np.complex64)
        field.real = np.bincount(place, amplitude.real, cells)
        field.imag = np.bincount(place, amplitude.imag, cells)
        return field.reshape(self.grid.shape)

    def _band_limited(self, field: np.ndarray) -> np.ndarray:
        """What the receiver's bandwidth leaves along depth, with white input keeping its level."""
        sigma = axial_sigma_mm(self.probe) / self.grid.step_z
        field = gaussian_filter1d(field, sigma, axis=0, truncate=3.5, mode="constant")
        return field * np.float32(np.sqrt(2 * sigma * np.sqrt(np.pi)))

    def _blur(self, field: np.ndarray) -> np.ndarray:
        """Point spread: fixed in depth, as wide laterally as the beam is at that depth."""
        spectrum = fft.fft(self._band_limited(field), self.padded, axis=1)
        spectrum *= self.response
        return fft.ifft(spectrum, axis=1, overwrite_x=True)[:, : self.grid.shape[1]]

    def _mirror_columns(self, frame: int) -> np.ndarray:
        """Depth of the first bone over the anatomy's columns in this slice, mm, inf where none."""
        row = self.anatomy.row(self.plan.elevation_mm[frame : frame + 1])[0]
        depth = self.bone.depth[row] + np.float32(self.plan.pressure_mm[frame])
        return np.where(np.isnan(depth), np.inf, depth)

    def _shadow(self, bone_depth: np.ndarray, angle: float) -> np.ndarray:
        """What bone lets through: 1 above it, the shadow's floor below, along the look's direction."""
        grid, slant = self.grid, np.tan(angle)
        x = self.anatomy.x
        finite = np.isfinite(bone_depth)
        start = np.rint((x[finite] - bone_depth[finite] * slant - grid.x[0]) / grid.step_x).astype(int)
        margin = 64
        first = np.full(grid.shape[1] + 2 * margin, np.inf)
        np.minimum.at(first, np.clip(start + margin, 0, len(first) - 1), bone_depth[finite])
        ray = (
            np.rint((-grid.z[:, None] * slant) / grid.step_x).astype(int) + np.arange(grid.shape[1]) + margin
        )
        hidden = grid.z[:, None] > first[np.clip(ray, 0, len(first) - 1)]
        soft = gaussian_filter1d(
            hidden.astype(np.float32), SHADOW_PENUMBRA_MM / grid.step_x, axis=1, mode="nearest"
        )
        floor = np.float32(np.log(10 ** (self.probe.shadow_db / 20)))
        return np.exp(floor * np.where(hidden, np.maximum(soft, 0.35), 0.25 * soft))

    def _mirrors(self, bone_depth: np.ndarray, angle: float, frame: int) -> np.ndarray:
        """Field of the mirrors: bone with its multiple, soft layers above it, skin multiples."""
        field = np.zeros(self.grid.shape, np.complex64)
        probe, tissue = self.probe, self.tissue
        wide, rough = tissue.cortex_specular_deg, tissue.cortex_rough_db
        self._deposit(field, self.bone, angle, frame, wide, rough, None, ring_mm=0.9)
        multiple = probe.reverberation_db
        # Two passes through uneven tissue leave little of the mirror and much of its blur.
        self._deposit(field, self.bone, angle, frame, wide, rough + 8.0, None, (2, multiple), ring_mm=0.9)
        for order, layer in enumerate(self.soft):
            self._deposit(field, layer, angle, frame, 6.0, -14.0, bone_depth)
            if order == 0:
                for bounce in (2, 3, 4):
                    level = probe.skin_multiple_db * (bounce - 1) * 0.6
                    self._deposit(field, layer, angle, frame, 6.0, -40.0, None, (bounce, level))
        return field

    def _deposit(
        self,
        field: np.ndarray,
        layer: Interface,
        angle: float,
        frame: int,
        specular_deg: float,
        rough_db: float,
        roof: np.ndarray | None,
        multiple: tuple[int, float] = (1, 0.0),
        ring_mm: float = 0.0,
    ) -> None:
        """Adds one mirror's echo, summed over the slice thickness, to the field.

        The phase is that of a smooth reflector seen at its own depth, so neighbouring columns add up; the
        part that no angle removes carries a fixed random phase per place.
        """
        grid, plan, anatomy = self.grid, self.plan, self.anatomy
        offsets = np.linspace(-1.5, 1.5, 5) * self.probe.elevation_sigma_mm
        weights = np.exp(-0.5 * (offsets / self.probe.elevation_sigma_mm) ** 2)
        weights /= weights.sum()
        column = np.rint((anatomy.x + plan.drift_mm[frame] - grid.x[0]) / grid.step_x).astype(int)
        times, level_db = multiple
        for offset, weight in zip(offsets, weights, strict=True):
            row = anatomy.row(plan.elevation_mm[frame : frame + 1] + offset)[0]
            depth = layer.depth[row] + np.float32(plan.pressure_mm[frame])
            lean = (layer.slope_x[row] - np.tan(angle)) ** 2 + layer.slope_y[row] ** 2
            spec = np.exp(-lean / (2 * np.tan(np.deg2rad(specular_deg)) ** 2))
            strength = 10 ** ((layer.strength_db[row] + level_db) / 20) * weight * self.mirror_level
            sample = np.rint(times * depth / grid.step_z)
            seen = np.isfinite(depth) & (column >= 0) & (column < grid.shape[1])
            if roof is not None:
                seen &= depth < roof
            sample, across = sample[seen].astype(int), column[seen]
            _add(field, sample, across, (strength * spec)[seen])
            # Roughness rings on below the surface: cortex is a band that fades, not a hairline.
            phases = _place_phase(row, len(column))
            for later in range(int(ring_mm / grid.step_z) + 1):
                fade = 10 ** (rough_db / 20) * np.exp(-2.5 * later * grid.step_z / max(ring_mm, 0.1))
                _add(field, sample + later, across, fade * (strength * np.roll(phases, 31 * later))[seen])

    def _gains(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Receive gain [Z, X] and noise amplitude [Z, 1], both relative to full scale."""
        probe, plan, grid = self.probe, self.plan, self.grid
        share = grid.z[:, None] / plan.depth_mm
        ripple = 1 + probe.tgc_ripple * np.sin(2 * np.pi * 2.2 * share + plan.gain_db + plan.tilt_deg)
        decibel = probe.attenuation_error_db * share + plan.gain_db
        across = grid.x[None, :] / (probe.width_mm / 2)
        edge = 1 - probe.edge_loss * np.abs(across) ** 4
        places = np.linspace(-1, 1, len(plan.patch_db))
        near = np.interp(across, places, plan.patch_db)
        # Deep points are seen by many elements, so a bubble's shadow blurs and fades as it goes down.
        far = np.interp(across, places, gaussian_filter1d(plan.patch_db, 6.0))
        edge = edge * 10 ** ((near + np.minimum(1.3 * share, 1.0) * (far - near)) / 20)
        width = plan.contact_width_mm[frame]
        if width:
            inwards = probe.width_mm / 2 - np.sign(width) * grid.x[None, :]
            off = 1 / (1 + np.exp((inwards - abs(width)) / 0.8))
            edge = edge * 10 ** (-plan.contact_loss_db * off / 20)
        noise = 10 ** ((probe.noise_db + probe.noise_slope_db * (share - 0.5)) / 20)
        self_gain = ripple * 10 ** (decibel / 20)
        # Noise is picked up behind the aperture: what the edge loses, noise does not; TGC amplifies both.
        return (self_gain * edge).astype(np.float32), (noise / np.maximum(edge, 1e-3)).astype(np.float32)


def compress(envelope: np.ndarray, probe: ProbeSettings) -> np.ndarray:
    """Log compression, speckle smoothing and grey map.

    Args:
        envelope: Echo amplitude relative to full scale, float32 [Z, X].
        probe: Gives dynamic range, smoothing and grey map.

    Returns:
        0 (black) to 1 (white), float32 [Z, X].
    """
    decibel = 20 * np.log10(np.maximum(envelope, 1e-6))
    if probe.speckle_filter:
        smooth = gaussian_filter(decibel, (1.0, 1.0))
        decibel = decibel + probe.speckle_filter * (smooth - decibel)
    grey = np.clip(1 + decibel / probe.dynamic_range_db, 0.0, 1.0)
    bent = grey**probe.grey_gamma
    curve = bent * bent * (3 - 2 * bent)
    return (bent + probe.grey_contrast * (curve - bent)).astype(np.float32)


def _complex_normal(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal((*shape, 2), dtype=np.float32)
    return noise.view(np.complex64)[..., 0] * np.float32(np.sqrt(0.5))


def _add(field: np.ndarray, row: np.ndarray, column: np.ndarray, amplitude: np.ndarray) -> None:
    inside = (row >= 0) & (row < field.shape[0])
    np.add.at(field, (row[inside], column[inside]), amplitude[inside].astype(np.complex64))


def _place_phase(row: int, columns: int) -> np.ndarray:
    """Unit phasors fixed to tissue: the same place gives the same phase in every frame."""
    return np.exp(2j * np.pi * np.random.default_rng((7919, row)).random(columns))
