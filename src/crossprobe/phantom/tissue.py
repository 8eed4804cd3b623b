"""Point scatterers fixed in tissue: where they are and how strongly each tissue scatters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from crossprobe.phantom.anatomy import Anatomy, Interface, interface
from crossprobe.phantom.settings import AnatomySettings, ProbeSettings

SPEED_MM_PER_US = 1.54
SCATTERERS_PER_CELL = 7.0

# Mean echo of each tissue, dB below full scale.
FAT_DB, MUSCLE_DB, TENDON_DB, SKIN_DB, LOOSE_DB = -36.0, -42.0, -28.0, -23.0, -33.0
CARTILAGE_DB, BELOW_BONE_DB, HAEMATOMA_DB, ARTERY_DB, GEL_DB = -46.0, -52.0, -12.0, -62.0, -62.0


@dataclass(frozen=True)
class Scatterers:
    """Scatterers sorted by elevation.

    `x`, `y`, `z` are mm, float32 [N]; `amplitude` is complex64 [N]: echo strength of the tissue there, with
    a random phase that stands for the position within a wavelength.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    amplitude: np.ndarray


def axial_sigma_mm(probe: ProbeSettings) -> float:
    """Sigma of the pulse-echo envelope in depth, from centre frequency and -6 dB bandwidth.

    Args:
        probe: The probe.

    Returns:
        Sigma in mm of tissue depth.
    """
    # A pulse-echo spectrum at -6 dB in amplitude is at half height: FWHM = 2.355 sigma.
    spectrum_mhz = probe.centre_mhz * probe.fractional_bandwidth / 2.355
    return SPEED_MM_PER_US / (4 * np.pi * spectrum_mhz)


def cell_volume_mm3(probe: ProbeSettings) -> float:
    """Volume of the resolution cell at the focus: (integral of p^2)^2 / integral of p^4 of a Gaussian p.

    Args:
        probe: The probe.

    Returns:
        Volume in cubic mm.
    """
    widths = axial_sigma_mm(probe) * probe.lateral_sigma_mm * probe.elevation_sigma_mm
    return float((2 * np.pi) ** 1.5 * widths)


def place_scatterers(
    volume: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    probe: ProbeSettings,
    random: np.random.Generator,
) -> Scatterers:
    """Fills a box with scatterers of unit strength and random phase.

    Args:
        volume: (low, high) in mm for x, y and z.
        probe: Whose resolution cell sets the density: enough in each for fully developed speckle.
        random: Where the numbers come from.

    Returns:
        The scatterers, sorted by y.
    """
    sides = [high - low for low, high in volume]
    count = int(np.prod(sides) * SCATTERERS_PER_CELL / cell_volume_mm3(probe))
    x, y, z = (
        (low + (high - low) * random.random(count, dtype=np.float32)).astype(np.float32)
        for low, high in volume
    )
    y.sort()
    phase = np.float32(2 * np.pi) * random.random(count, dtype=np.float32)
    amplitude = np.empty(count, np.complex64)
    # Equal strengths: fully developed speckle then needs the fewest scatterers.
    amplitude.real, amplitude.imag = np.cos(phase), np.sin(phase)
    return Scatterers(x, y, z, amplitude)


def scatter_from(
    anatomy: Anatomy, probe: ProbeSettings, depth_mm: float, random: np.random.Generator
) -> Scatterers:
    """Fills the anatomy with scatterers whose strength is that of the tissue they lie in.

    Args:
        anatomy: The wrist.
        probe: The probe.
        depth_mm: How deep the image goes.
        random: Where the numbers come from.

    Returns:
        The scatterers.
    """
    box = (
        (float(anatomy.x[0]), float(anatomy.x[-1])),
        (float(anatomy.y[0]), float(anatomy.y[-1])),
        (0.0, depth_mm + 1.5),
    )
    cloud = place_scatterers(box, probe, random)
    strength = 10 ** (echogenicity_db(anatomy, cloud, random) / 20)
    return Scatterers(cloud.x, cloud.y, cloud.z, cloud.amplitude * strength.astype(np.float32))


def echogenicity_db(anatomy: Anatomy, cloud: Scatterers, random: np.random.Generator) -> np.ndarray:
    """Mean echo of the tissue at each scatterer.

    Args:
        anatomy: The wrist.
        cloud: Where to ask.
        random: Where the textures come from.

    Returns:
        dB below full scale, float32 [N].
    """
    row, column = anatomy.row(cloud.y), anatomy.column(cloud.x)
    skin, fascia = anatomy.skin[row, column], anatomy.fascia[row, column]
    bottom, bone = anatomy.tendon_bottom[row, column], anatomy.bone[row, column]
    roof = anatomy.roof[row, column]
    z = cloud.z
    coarse = _texture(cloud, z, (1.2, 3.0, 2.0), random)
    result = np.full(len(z), GEL_DB, np.float32)
    result = np.where(z > anatomy.standoff, SKIN_DB + 1.5 * coarse, result)
    lines = _ridge(_texture(cloud, z, (0.5, 4.0, 2.5), random), 0.16)
    result = np.where(z > skin, FAT_DB + 2.0 * coarse + 15.0 * lines, result)
    fibrils = _texture(cloud, z - fascia, (0.11, 5.0, 0.7), random)
    bundles = _texture(cloud, z - fascia, (0.5, 9.0, 1.2), random)
    result = np.where(z > fascia, TENDON_DB + 5.5 * fibrils + 2.5 * bundles, result)
    oblique = z - anatomy.pennation * cloud.x
    striae = _ridge(_texture(cloud, oblique, (0.34, 3.2, 1.5), random), 0.20)
    muscle = MUSCLE_DB + 1.5 * coarse + 15.0 * striae
    above_bone = roof - z
    loose = LOOSE_DB + 2.0 * coarse + 6.0 * lines
    result = np.where(z > bottom, np.where(above_bone < 1.0, loose, muscle), result)
    lens = anatomy.haematoma[row, column]
    result = result + HAEMATOMA_DB * lens * np.exp(-((above_bone / 1.6) ** 2))
    # Between bones lies cartilage, which lets less and less through; inside bone, marrow that shadow hides.
    gap = CARTILAGE_DB + 2.0 * coarse + 4.0 * np.maximum(above_bone, -8.0)
    result = np.where(above_bone < 0.2, np.where(np.isnan(bone), gap, BELOW_BONE_DB + 3.0 * coarse), result)
    if anatomy.artery is not None:
        x0, z0, radius = anatomy.artery
        inside = ((cloud.x - x0) / 2.2) ** 2 + (z - z0) ** 2 < radius**2
        result = np.where(inside, ARTERY_DB, result)
    return result.astype(np.float32)


def interfaces(
    anatomy: Anatomy, settings: AnatomySettings, random: np.random.Generator
) -> tuple[Interface, list[Interface]]:
    """The mirrors of this wrist.

    Args:
        anatomy: The wrist.
        settings: How strongly cortex and fascia mirror.
        random: Where their patchiness comes from.

    Returns:
        The bone, and the soft-tissue layers: skin entry, skin bottom, fascia, tendon bottom.
    """
    shape = anatomy.skin.shape

    def patchy(level_db: float, spread_db: float) -> np.ndarray:
        noise = gaussian_filter(random.normal(size=shape), (6, 25))
        return level_db + spread_db * noise / max(float(noise.std()), 1e-9)

    entry = np.full(shape, anatomy.standoff, np.float32)
    soft = [
        interface(entry, patchy(-8.0, 1.0)),
        interface(anatomy.skin, patchy(-17.0, 2.5)),
        interface(anatomy.fascia, patchy(settings.fascia_db, 3.0)),
        interface(anatomy.tendon_bottom, patchy(settings.fascia_db - 6.0, 4.0)),
    ]
    return interface(anatomy.bone, patchy(settings.cortex_db, settings.cortex_patch_db)), soft


def _texture(
    cloud: Scatterers, depth: np.ndarray, sigma_mm: tuple[float, float, float], random: np.random.Generator
) -> np.ndarray:
    """Unit-variance smooth random field at the scatterers.

    Args:
        cloud: Gives x and y.
        depth: mm [N], measured along whatever the texture should follow.
        sigma_mm: Smoothness in depth, along x and along y.
        random: Where the numbers come from.

    Returns:
        float32 [N].
    """
    # A grid at the smoothing sigma, then smoothed by one sample, is as fine as the field needs.
    place = (depth, cloud.x, cloud.y)
    low = [float(values.min()) for values in place]
    sizes = [int((float(v.max()) - lo) / s) + 4 for v, lo, s in zip(place, low, sigma_mm, strict=True)]
    noise = gaussian_filter(random.standard_normal(sizes, dtype=np.float32), 0.8, mode="wrap")
    noise /= noise.std()
    coordinates = np.stack(
        [((v - lo) / s + 1).astype(np.float32) for v, lo, s in zip(place, low, sigma_mm, strict=True)]
    )
    return map_coordinates(noise, coordinates, order=1, mode="nearest", output=np.float32)


def _ridge(field: np.ndarray, width: float) -> np.ndarray:
    """1 along the field's zero set and 0 away from it: thin sheets that wander and branch."""
    return np.exp(-((field / width) ** 2))
