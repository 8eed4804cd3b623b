"""Intervals over patients and paired tests on patient means, corrected for how many were declared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.comparison_settings import SMALLEST_TESTABLE, Family, StatisticsSettings


@dataclass(frozen=True)
class Interval:
    """A mean over patients and the interval around it.

    Attributes:
        mean: Equal-weight mean over patients.
        low: Lower end, NaN where fewer than two patients make an interval impossible.
        high: Upper end.
        n_patients: Patients behind it.
        method: `bca`, `percentile`, `nested` or `none`.
    """

    mean: float
    low: float
    high: float
    n_patients: int
    method: str


def bootstrap_interval(values: np.ndarray, settings: StatisticsSettings | None = None) -> Interval:
    """Bootstraps a mean over patients.

    One column: bias-corrected and accelerated (Efron, JASA 1987), or the percentile interval where the data
    are too degenerate for it. Several columns are training seeds: patients and seeds are drawn again both at
    once, so that the interval holds the luck of training too, and its percentiles are taken.

    Args:
        values: Patient means [patients], or [patients, seeds]. NaN rows are left out.
        settings: Level, number of samples and seed.

    Returns:
        The mean with its interval.
    """
    settings = settings or StatisticsSettings()
    values = np.asarray(values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    values = values[np.isfinite(values).all(axis=1)]
    n_patients = len(values)
    if n_patients < 2:
        mean = float(values.mean()) if n_patients else np.nan
        return Interval(mean, np.nan, np.nan, n_patients, "none")
    mean, generator = float(values.mean()), np.random.default_rng(settings.seed)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, n_patients, "percentile")
    if values.shape[1] > 1:
        low, high = _nested(values, settings, generator)
        return Interval(mean, low, high, n_patients, "nested")
    for method in ("bca", "percentile"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = stats.bootstrap(
                (values[:, 0],),
                np.mean,
                n_resamples=settings.resamples,
                confidence_level=settings.confidence,
                method=method,
                rng=generator,
            ).confidence_interval
        if np.isfinite([result.low, result.high]).all():
            return Interval(mean, float(result.low), float(result.high), n_patients, method)
    raise CrossprobeError(f"no interval can be drawn from {values[:, 0]}")


def _nested(
    values: np.ndarray, settings: StatisticsSettings, generator: np.random.Generator
) -> tuple[float, float]:
    """Percentiles of means over patients and seeds drawn again together."""
    # How often each patient, and each seed, was drawn.
    patients, seeds = (
        generator.multinomial(count, np.full(count, 1 / count), settings.resamples) for count in values.shape
    )
    means = (patients @ values * seeds).sum(axis=1) / values.size
    tail = 100 * (1 - settings.confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed rank test on paired differences.

    Args:
        differences: Arm less reference, one a patient; NaN is left out.

    Returns:
        The p value; 1 where every difference is zero, NaN where nothing is left.
    """
    differences = np.asarray(differences, dtype=np.float64)
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return float("nan")
    # Means of the same frames in another order differ in the last bit: that is no difference between arms.
    differences = np.where(np.abs(differences) < 1e-12, 0.0, differences)
    if not differences.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(differences).pvalue)


def smallest_p(n_pairs: int) -> float:
    """The smallest two-sided p that so many pairs can give: all differences of one sign."""
    return float(min(1.0, 2.0 ** (1 - n_pairs))) if n_pairs > 0 else float("nan")


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Corrects the p values of one family (Holm, Scand J Stat 1979); NaN stays NaN and does not count.

    Args:
        p_values: Raw p values.

    Returns:
        Corrected p values, same order.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(raw.shape, np.nan)
    known = np.isfinite(raw)
    if known.any():
        corrected[known] = multipletests(raw[known], method="holm")[1]
    return corrected


class ByPatient:
    """Values of every arm, site and metric, patient by patient; each is looked up once, however often asked.

    Args:
        metrics: Long patient table, with or without training seeds.
    """

    def __init__(self, metrics: pd.DataFrame) -> None:
        keys = ["arm", "site", "metric"]
        parts = metrics.dropna(subset="value").groupby(keys, sort=False, observed=True)
        self._parts: dict[Any, pd.DataFrame] = dict(iter(parts))
        self._nothing = metrics.iloc[:0]
        self._tables: dict[tuple[str, str, str], pd.DataFrame] = {}

    @classmethod
    def of(cls, metrics: pd.DataFrame | ByPatient) -> ByPatient:
        """Takes either form."""
        return cls(metrics) if isinstance(metrics, pd.DataFrame) else metrics

    def table(self, arm: str, site: str, metric: str) -> pd.DataFrame:
        """Gives patients down and seeds across; one column, `value`, where there are no seeds."""
        key = (arm, site, metric)
        if key not in self._tables:
            self._tables[key] = self._pivoted(self._parts.get(key, self._nothing))
        return self._tables[key]

    @staticmethod
    def _pivoted(chosen: pd.DataFrame) -> pd.DataFrame:
        if "seed" not in chosen.columns or chosen["seed"].nunique() < 2:
            return chosen.groupby("patient")[["value"]].mean()
        return chosen.pivot_table(index="patient", columns="seed", values="value")


def interval_of(
    metrics: pd.DataFrame | ByPatient,
    arm: str,
    site: str,
    metric: str,
    settings: StatisticsSettings | None = None,
) -> Interval:
    """Mean over patients of one arm, with its interval (nested with the training seeds where several).

    Args:
        metrics: Long patient table, or made ready for many questions.
        arm: Arm.
        site: Site.
        metric: Metric.
        settings: How to draw the interval.

    Returns:
        The interval; its mean is NaN where no patient has a value.
    """
    return bootstrap_interval(ByPatient.of(metrics).table(arm, site, metric).to_numpy(), settings)


def paired_differences(
    metrics: pd.DataFrame | ByPatient, arm: str, against: str, site: str, metric: str
) -> pd.DataFrame:
    """Differences of two arms on the patients both have.

    Args:
        metrics: Long patient table, or made ready for many questions.
        arm: Arm.
        against: Reference arm.
        site: Site.
        metric: Metric.

    Returns:
        Table, patients down and seeds across: arm less reference. Seeds that only one arm has are averaged
        away.
    """
    values = ByPatient.of(metrics)
    first, second = values.table(arm, site, metric), values.table(against, site, metric)
    if list(first.columns) != list(second.columns):
        first, second = (table.mean(axis=1).to_frame("value") for table in (first, second))
    return (first - second).dropna(how="any")


def compare(
    metrics: pd.DataFrame | ByPatient,
    arm: str,
    against: str,
    site: str,
    metric: str,
    settings: StatisticsSettings | None = None,
) -> dict[str, Any]:
    """Compares two arms on patient means: difference, interval, signed rank test.

    Args:
        metrics: Long patient table, or made ready for many questions.
        arm: Arm.
        against: Reference arm.
        site: Site.
        metric: Metric.
        settings: How to draw the interval.

    Returns:
        `arm, against, site, metric, n_patients, difference, low, high, p, smallest_p, note`.
    """
    table = paired_differences(metrics, arm, against, site, metric)
    interval = bootstrap_interval(table.to_numpy(), settings)
    p = wilcoxon_p(table.mean(axis=1).to_numpy())
    note = ""
    if len(table) and np.abs(table.to_numpy()).max() < 1e-12:
        note = "identical on every patient"
    elif len(table) < SMALLEST_TESTABLE:
        note = f"{len(table)} pairs: p cannot fall below {smallest_p(len(table)):.3f}, so .05 is out of reach"
    return {
        "arm": arm,
        "against": against,
        "site": site,
        "metric": metric,
        "n_patients": interval.n_patients,
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": p,
        "smallest_p": smallest_p(len(table)),
        "note": note,
    }


def comparisons(
    metrics: pd.DataFrame, families: Sequence[Family], settings: StatisticsSettings | None = None
) -> pd.DataFrame:
    """Runs every declared comparison and corrects each family by Holm.

    Args:
        metrics: Long patient table.
        families: Declared families. Arms, sites and metrics that are not there are left out of the family.
        settings: How to draw intervals.

    Returns:
        Table `family, arm, against, site, metric, n_patients, difference, low, high, p, p_holm, family_size,
        smallest_p, note`.
    """
    present = list(dict.fromkeys(metrics["arm"]))
    there = set(zip(metrics["arm"], metrics["site"], metrics["metric"], strict=True))
    values = ByPatient(metrics)
    parts = []
    for family in families:
        rows = [
            {"family": family.name, **compare(values, arm, against, site, metric, settings)}
            for site in family.sites
            for metric in family.metrics
            for arm, against in family.pairs(present)
            if {(arm, site, metric), (against, site, metric)} <= there
        ]
        if rows:
            part = pd.DataFrame(rows)
            position = list(part.columns).index("p") + 1
            part.insert(position, "p_holm", holm(part["p"].to_numpy()))
            part.insert(position + 1, "family_size", int(part["p"].notna().sum()))
            parts.append(part)
    names = (
        "family arm against site metric n_patients difference low high p p_holm family_size smallest_p note"
    )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names.split())
