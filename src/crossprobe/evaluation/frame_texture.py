"""What a device does to a frame, in numbers: grey levels, spectrum, speckle.

Speckle statistics need the echo's amplitude, but a frame shows its logarithm: the display's dynamic range is
assumed (a setting) and undone. Fully developed speckle then has an amplitude with mean / deviation 1.91 and a
Nakagami parameter of 1 (Burckhardt, IEEE Trans Sonics Ultrason 1978; Shankar, IEEE TUFFC 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from crossprobe.evaluation.domain_settings import TextureSettings

LEVELS = 256
# A window counts where nearly all of it is tissue.
LEAST_TISSUE = 0.99
MEASURES = (
    "mean_level",
    "deviation_levels",
    "dark_share",
    "saturated_share",
    "local_contrast",
    "speckle_snr",
    "nakagami",
    "axial_grain_px",
    "lateral_grain_px",
)


@dataclass(frozen=True)
class FrameTexture:
    """Numbers of one frame.

    Attributes:
        histogram: [256]: share of the area's pixels at each grey level.
        axial: [bins]: power by frequency down the image, mean power of all frequencies 1.
        lateral: [bins]: power by frequency across the image, likewise.
        measures: Value by name (`MEASURES`); NaN where the frame has no tissue to measure.
    """

    histogram: np.ndarray
    axial: np.ndarray
    lateral: np.ndarray
    measures: dict[str, float]


def frame_texture(frame: np.ndarray, settings: TextureSettings) -> FrameTexture:
    """Measures one frame.

    Args:
        frame: Shape [H, W], uint8, without padding.
        settings: How.

    Returns:
        Its numbers.
    """
    histogram = np.bincount(frame.ravel(), minlength=LEVELS) / frame.size
    tissue = frame >= settings.darkest_tissue
    inside = frame[tissue].astype(np.float64)
    axial, lateral = spectra(frame, settings)
    measures = {
        "mean_level": float(inside.mean()) if inside.size else np.nan,
        "deviation_levels": float(inside.std()) if inside.size else np.nan,
        "dark_share": float(1 - tissue.mean()),
        "saturated_share": float((frame == LEVELS - 1).mean()),
        "local_contrast": _local_contrast(frame, tissue, settings.window_px),
        **speckle_statistics(envelope(frame, settings.dynamic_range_db), tissue, settings.window_px),
        "axial_grain_px": _grain_px(axial),
        "lateral_grain_px": _grain_px(lateral),
    }
    return FrameTexture(histogram, axial, lateral, {name: measures[name] for name in MEASURES})


def envelope(frame: np.ndarray, dynamic_range_db: float) -> np.ndarray:
    """Undoes the logarithm of the display.

    Args:
        frame: Shape [H, W], uint8.
        dynamic_range_db: Range between black and white.

    Returns:
        Shape [H, W], float64: amplitude, 1 for white.
    """
    return np.asarray(10 ** ((frame / (LEVELS - 1) - 1) * dynamic_range_db / 20))


def speckle_statistics(amplitude: np.ndarray, tissue: np.ndarray, window_px: int) -> dict[str, float]:
    """Measures speckle in windows, so that it is not mixed up with anatomy; medians over the windows.

    Args:
        amplitude: Shape [H, W], float: echo amplitude.
        tissue: Shape [H, W], bool: where there is any.
        window_px: Side of the windows.

    Returns:
        `speckle_snr` (mean / deviation of the amplitude) and `nakagami` (mean intensity squared / its
        variance, the moment estimate); NaN where no window lies in tissue.
    """
    chosen = _windows(tissue, window_px)
    mean, square, fourth = (_box(amplitude**power, window_px)[chosen] for power in (1, 2, 4))
    variance, spread = square - mean**2, fourth - square**2
    valid = (variance > 1e-9 * square) & (spread > 1e-9 * fourth)
    if not valid.any():
        return {"speckle_snr": np.nan, "nakagami": np.nan}
    return {
        "speckle_snr": float(np.median(mean[valid] / np.sqrt(variance[valid]))),
        "nakagami": float(np.median(square[valid] ** 2 / spread[valid])),
    }


def spectra(frame: np.ndarray, settings: TextureSettings) -> tuple[np.ndarray, np.ndarray]:
    """Measures how fine a frame's detail is, down and across.

    Args:
        frame: Shape [H, W], uint8.
        settings: Number of bins.

    Returns:
        Power by frequency down and across, each [bins] float64 from 0 to .5 cycles a px, of mean 1; zeros for
        a flat frame.
    """
    values = frame.astype(np.float64) - frame.mean()
    window = np.outer(np.hanning(frame.shape[0]), np.hanning(frame.shape[1]))
    power = np.abs(np.fft.fft2(values * window)) ** 2
    return (
        _by_frequency(power.sum(axis=1), settings.frequencies),
        _by_frequency(power.sum(axis=0), settings.frequencies),
    )


def _by_frequency(power: np.ndarray, bins: int) -> np.ndarray:
    frequency = np.abs(np.fft.fftfreq(len(power)))
    places = np.linspace(0, 0.5, bins)
    order = np.argsort(frequency, kind="stable")
    levels = np.interp(places, frequency[order], power[order])
    # Interpolated, so that frames of any size share their bins.
    return levels / levels.mean() if levels.sum() > 0 else np.zeros(bins)


def _grain_px(power: np.ndarray) -> float:
    """Size of the detail: one over the power-weighted mean frequency, the slowest (anatomy) left out."""
    frequency = np.linspace(0, 0.5, len(power))
    fine = frequency >= 0.05
    total = power[fine].sum()
    return float(total / (power[fine] * frequency[fine]).sum()) if total > 0 else np.nan


def _local_contrast(frame: np.ndarray, tissue: np.ndarray, window_px: int) -> float:
    chosen = _windows(tissue, window_px)
    levels = frame.astype(np.float64)
    mean, square = (_box(levels**power, window_px)[chosen] for power in (1, 2))
    return float(np.median(np.sqrt(np.maximum(square - mean**2, 0)))) if mean.size else np.nan


def _windows(tissue: np.ndarray, window_px: int) -> np.ndarray:
    """Marks the centres of windows that lie in the frame and in tissue."""
    chosen = _box(tissue.astype(np.float64), window_px) >= LEAST_TISSUE
    edge = window_px // 2
    inner = np.zeros_like(chosen)
    inner[edge : chosen.shape[0] - edge, edge : chosen.shape[1] - edge] = True
    return np.asarray(chosen & inner)


def _box(values: np.ndarray, window_px: int) -> np.ndarray:
    return np.asarray(cv2.blur(values, (window_px, window_px), borderType=cv2.BORDER_REFLECT))
