"""Charts of two devices side by side: grey levels, spectra, measures and features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossprobe.evaluation.frame_texture import LEVELS
from crossprobe.reporting.style import LIGHT, bands, drawing

SITES = ("source", "target")
SITE_COLOURS = {"source": "#e69f00", "target": "#0072b2"}
_MEASURES = {
    "mean_level": "mean grey level of tissue",
    "deviation_levels": "deviation of grey levels",
    "dark_share": "share of black",
    "saturated_share": "share of white",
    "local_contrast": "local contrast (levels)",
    "speckle_snr": "speckle: mean / deviation",
    "nakagami": "speckle: Nakagami parameter",
    "axial_grain_px": "grain down the image (px)",
    "lateral_grain_px": "grain across the image (px)",
}


def measure_label(measure: str) -> str:
    """Name of a measure for people."""
    return _MEASURES.get(measure, measure.replace("_", " "))


def histogram_chart(histograms: dict[str, pd.DataFrame]) -> Figure:
    """Draws mean shares of grey levels by site, with the middle half of patients.

    Args:
        histograms: By site, a row a patient.

    Returns:
        The figure.
    """
    with drawing():
        figure = Figure(figsize=(9.2, 3.0), layout="constrained")
        axes = figure.subplots()
        for site, table in histograms.items():
            values = table[[f"level_{level}" for level in range(LEVELS)]].to_numpy()
            _profile(axes, np.arange(LEVELS), 100 * _smooth(values), site, len(values))
        # The share of pure black dwarfs the rest; a table has it.
        axes.set_xlim(1, LEVELS - 1)
        axes.set_xlabel("grey level (0 left out)")
        axes.set_ylabel("share of pixels (%)")
        axes.grid(axis="y")
        axes.legend()
    return figure


def spectrum_chart(spectra: dict[str, pd.DataFrame]) -> Figure:
    """Draws mean spectra by site, down and across the image.

    Args:
        spectra: By site, a row a patient.

    Returns:
        The figure.
    """
    with drawing():
        figure = Figure(figsize=(9.2, 3.0), layout="constrained")
        grid = figure.subplots(1, 2, sharey=True)
        for axes, side, title in zip(
            grid, ("axial", "lateral"), ("Down the image", "Across the image"), strict=True
        ):
            for site, table in spectra.items():
                columns = [name for name in table.columns if name.startswith(f"{side}_")]
                levels = 10 * np.log10(np.maximum(table[columns].to_numpy(), 1e-8))
                frequency = np.linspace(0, 0.5, len(columns))
                _profile(axes, frequency, levels, site, len(levels))
            axes.set_title(title)
            axes.set_xlabel("frequency (cycles a stored px)")
            axes.grid(axis="y")
        grid[0].set_ylabel("power (dB, mean of all 0)")
        grid[1].legend()
    return figure


def measures_chart(table: pd.DataFrame) -> Figure:
    """Draws each measure's difference in units of the deviation between patients, with its interval.

    Args:
        table: From `compare_measures`.

    Returns:
        The figure.
    """
    with drawing():
        figure = Figure(figsize=(9.2, 0.9 + 0.36 * max(len(table), 1)), layout="constrained")
        axes = figure.subplots()
        bands(axes, len(table))
        axes.axvline(0, color=LIGHT.muted, linewidth=1.2)
        for place, row in enumerate(table.to_dict("records")):
            # One unit is the difference over its effect: the pooled deviation of patients.
            unit = row["difference"] / row["effect"] if row["effect"] else np.nan
            ends = [row["low"] / unit, row["high"] / unit]
            axes.plot(ends, [place, place], color=SITE_COLOURS["target"], linewidth=2.2)
            axes.plot(row["effect"], place, "o", color=SITE_COLOURS["target"], markersize=6.5)
        axes.set_yticks(range(len(table)), [measure_label(name) for name in table["measure"]])
        axes.set_xlabel("target less source, in deviations between patients")
    return figure


def feature_chart(places: pd.DataFrame) -> Figure:
    """Draws patients where their features lie.

    Args:
        places: From `project_patients`.

    Returns:
        The figure.
    """
    with drawing():
        figure = Figure(figsize=(9.2, 3.8), layout="constrained")
        axes = figure.subplots()
        for site, table in places.groupby("site", sort=True):
            colour = SITE_COLOURS[str(site)]
            marker = "o" if site == "source" else "D"
            label = f"{site} ({len(table)} patients)"
            axes.plot(
                table["first"], table["second"], marker, color=colour, alpha=0.6, markersize=5, label=label,
                markeredgewidth=0,
            )  # fmt: skip
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second")
        axes.legend()
        axes.grid()
    return figure


def _profile(axes: Axes, places: np.ndarray, values: np.ndarray, site: str, patients: int) -> None:
    colour = SITE_COLOURS[site]
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(places, values.mean(axis=0), color=colour, label=f"{site} ({patients} patients)")


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Averages neighbouring levels: stretched displays leave every other level empty."""
    kernel = np.ones(width) / width
    return np.stack([np.convolve(row, kernel, mode="same") for row in values])
