"""Compares what two sites measured on their own: grey levels, spectra, speckle and features, by patient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu, wasserstein_distance

from crossprobe.evaluation.domain_settings import DistanceSettings
from crossprobe.evaluation.feature_distance import (
    Distances,
    against_chance,
    frechet_distance,
    median_distance,
    proxy_a_distance,
    reduced,
    squared_mmd,
)
from crossprobe.evaluation.frame_texture import LEVELS, MEASURES
from crossprobe.evaluation.statistics import holm

SMALLEST_POWER = 1e-8


def compare_measures(source: pd.DataFrame, target: pd.DataFrame, settings: DistanceSettings) -> pd.DataFrame:
    """Compares each measure between the sites, a patient's frames averaged first.

    Args:
        source: Texture table of the source.
        target: Texture table of the target.
        settings: Intervals.

    Returns:
        A row a measure: `measure, source, target, difference, low, high` (target less source, bootstrapped
        over patients of both sites), `effect` (difference over the pooled deviation of patients),
        `separation` (chance that a target patient's value is the larger; .5 is none), `p_holm` (Mann-Whitney,
        corrected over the measures), `source_patients, target_patients`.
    """
    generator = np.random.default_rng(settings.seed)
    rows, raw = [], []
    for measure in MEASURES:
        one, other = (_patient_means(table, measure) for table in (source, target))
        if not len(one) or not len(other):
            continue
        low, high = _difference_interval(one, other, settings, generator)
        test = mannwhitneyu(other, one)
        spread = np.sqrt((one.var() * len(one) + other.var() * len(other)) / (len(one) + len(other)))
        difference = float(other.mean() - one.mean())
        raw.append(float(test.pvalue))
        rows.append({
            "measure": measure, "source": float(one.mean()), "target": float(other.mean()),
            "difference": difference, "low": low, "high": high,
            "effect": difference / spread if spread > 0 else 0.0,
            "separation": float(test.statistic) / (len(one) * len(other)),
            "source_patients": len(one), "target_patients": len(other),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table.insert(len(table.columns) - 2, "p_holm", holm(raw))
    return table


def compare_histograms(
    source: pd.DataFrame, target: pd.DataFrame, settings: DistanceSettings
) -> pd.DataFrame:
    """Measures how far grey levels lie apart: the Wasserstein distance of the sites' mean histograms.

    Args:
        source: Histograms of the source's patients.
        target: Those of the target's.
        settings: Shuffles and resamples.

    Returns:
        One row in the form of `compare_features`; in grey levels.
    """
    columns = [f"level_{level}" for level in range(LEVELS)]
    return _profile_row("grey levels", "wasserstein_levels", source, target, columns, _wasserstein, settings)


def compare_spectra(source: pd.DataFrame, target: pd.DataFrame, settings: DistanceSettings) -> pd.DataFrame:
    """Measures how far mean spectra lie apart: the root mean square difference in decibels, down and across.

    Args:
        source: Spectra of the source's patients.
        target: Those of the target's.
        settings: Shuffles and resamples.

    Returns:
        Two rows in the form of `compare_features`.
    """
    rows = []
    for side in ("axial", "lateral"):
        columns = [name for name in source.columns if name.startswith(f"{side}_")]
        rows.append(
            _profile_row(f"{side} spectrum", "rms_db", source, target, columns, spectrum_db, settings)
        )
    return pd.concat(rows, ignore_index=True)


def compare_features(
    name: str, source: pd.DataFrame, target: pd.DataFrame, settings: DistanceSettings
) -> pd.DataFrame:
    """Measures how far the sites' features lie apart, against chance.

    Args:
        name: What the features are.
        source: `patient` and numeric columns, a row a frame; rows with NaN are left out.
        target: Likewise, with the same columns.
        settings: Components, folds and shuffles.

    Returns:
        A row a distance: `features, distance, value, low, high, chance, chance_high, p`; `low` and `high`, a
        bootstrap interval, are NaN here: drawing patients twice would itself add to these distances.
    """
    columns = [column for column in source.columns if column not in ("site", "device", "patient")]
    source, target = source.dropna(subset=columns), target.dropna(subset=columns)
    one, other = reduced(source[columns].to_numpy(), target[columns].to_numpy(), settings.components)
    patients = source["patient"].to_numpy(), target["patient"].to_numpy()
    width = median_distance(np.concatenate([one, other]))
    found = {
        "proxy_a": against_chance(
            lambda a, b, p, q: proxy_a_distance(a, b, p, q, settings.folds, settings.seed),
            one, other, *patients, settings,
        ),
        "squared_mmd": against_chance(
            lambda a, b, p, q: squared_mmd(a, b, width), one, other, *patients, settings
        ),
        "frechet": against_chance(
            lambda a, b, p, q: frechet_distance(a, b), one, other, *patients, settings
        ),
    }  # fmt: skip
    return pd.DataFrame([_row(name, distance, value) for distance, value in found.items()])


def project_patients(source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """Projects each patient's mean features on the two directions in which all patients differ most.

    Args:
        source: Features of the source, as for `compare_features`.
        target: Those of the target.

    Returns:
        `site, device, patient, first, second`.
    """
    columns = [column for column in source.columns if column not in ("site", "device", "patient")]
    means = [table.groupby(["site", "device", "patient"])[columns].mean() for table in (source, target)]
    one, other = reduced(means[0].to_numpy(), means[1].to_numpy(), 2)
    places = np.concatenate([one, other])
    second = places[:, 1] if places.shape[1] > 1 else np.zeros(len(places))
    identity = pd.concat([table.index.to_frame(index=False) for table in means], ignore_index=True)
    return identity.assign(first=places[:, 0], second=second)


def spectrum_db(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square difference of two spectra in decibels.

    Args:
        one: Power by frequency [bins].
        other: Power by frequency [bins].

    Returns:
        At least 0; 10 where one spectrum is ten times the other.
    """
    levels = [10 * np.log10(np.maximum(power, SMALLEST_POWER)) for power in (one, other)]
    return float(np.sqrt(((levels[0] - levels[1]) ** 2).mean()))


def _wasserstein(one: np.ndarray, other: np.ndarray) -> float:
    levels = np.arange(LEVELS)
    return float(wasserstein_distance(levels, levels, one, other))


def _profile_row(
    name: str,
    distance: str,
    source: pd.DataFrame,
    target: pd.DataFrame,
    columns: list[str],
    between: Callable[[np.ndarray, np.ndarray], float],
    settings: DistanceSettings,
) -> pd.DataFrame:
    """Compares mean profiles of patients, shuffles patients and draws them again."""
    one, other = (table[columns].to_numpy() for table in (source, target))
    found = against_chance(
        lambda a, b, p, q: between(a.mean(axis=0), b.mean(axis=0)),
        one, other, source["patient"].to_numpy(), target["patient"].to_numpy(), settings,
    )  # fmt: skip
    generator = np.random.default_rng(settings.seed)
    drawn = [
        between(_again(one, generator).mean(axis=0), _again(other, generator).mean(axis=0))
        for _ in range(settings.resamples)
    ]
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return pd.DataFrame([_row(name, distance, found, float(low), float(high))])


def _row(name: str, distance: str, found: Distances, low: float = np.nan, high: float = np.nan) -> dict:
    return {
        "features": name, "distance": distance, "value": found.value, "low": low, "high": high,
        "chance": found.chance, "chance_high": found.chance_high, "p": found.p,
    }  # fmt: skip


def _patient_means(table: pd.DataFrame, measure: str) -> np.ndarray:
    return table.groupby("patient")[measure].mean().dropna().to_numpy()


def _again(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return values[generator.integers(0, len(values), len(values))]


def _difference_interval(
    one: np.ndarray, other: np.ndarray, settings: DistanceSettings, generator: np.random.Generator
) -> tuple[float, float]:
    drawn = [
        _again(other, generator).mean() - _again(one, generator).mean() for _ in range(settings.resamples)
    ]
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
