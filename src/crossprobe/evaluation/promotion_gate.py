"""Whether a new model may replace the one in use: on evidence held out from both, patient by patient.

A difference counts with its interval, a bootstrap over paired patients. "Not worse" means that the whole
interval lies above minus a margin that was set before (non-inferiority). Labels of the target are no evidence
here: they belong to the test. What is asked of the target is on how many frames anything is found, and how
steady masks are under changes that must not matter; a model that finds nothing is steady, and useless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.evaluation.comparison_settings import StatisticsSettings

if TYPE_CHECKING:
    from crossprobe.evaluation.statistics import Interval


class GateSettings(BaseModel):
    """What a model must show."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_source_dsc: float = Field(0.5, ge=0, le=1, description="Mean Dice on held-out source patients")
    source_margin: float = Field(
        0.02, ge=0, description="Loss of source Dice that is let pass, interval and all"
    )
    target_margin: float = Field(
        0.05,
        ge=0,
        description="Loss of steadiness on the unlabelled target that is let pass, interval and all",
    )
    least_target_found: float = Field(
        0.5, ge=0, le=1, description="Share of the unlabelled target's frames on which anything is found"
    )
    found_margin: float = Field(
        0.1, ge=0, description="Loss of that share that is let pass, interval and all"
    )
    latency_budget_ms: float = Field(1000, gt=0, description="Median time for one frame on this machine")
    largest_reload_difference: float = Field(
        1e-4, ge=0, description="Probability by which the reloaded model may differ from the trained one"
    )
    least_patients: int = Field(3, ge=1, description="Patients below which nothing is compared")
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)


class Check(NamedTuple):
    """One condition: its name, whether it holds, and the figures behind it."""

    name: str
    passed: bool
    finding: str


class Evidence(NamedTuple):
    """What is known of a candidate.

    Attributes:
        source: Table `model` (`candidate`, `champion`), `patient`, `value`: Dice on held-out source patients.
        target: The same on unlabelled target patients: `value` is steadiness (none where nothing is found),
            `found` the share of frames on which anything is found.
        latency_ms: Median time for one frame.
        reload_difference: Largest difference of a probability after reloading in a fresh process.
        champion: Version compared with; None for the first model.
        obstacle: Why the champion could not be compared; empty where it was.
    """

    source: pd.DataFrame
    target: pd.DataFrame
    latency_ms: float
    reload_difference: float
    champion: int | None
    obstacle: str = ""


def judge(evidence: Evidence, settings: GateSettings) -> list[Check]:
    """Examines a candidate.

    Args:
        evidence: What is known of it.
        settings: What it must show.

    Returns:
        All checks; the model may be promoted if every one holds.
    """
    checks = [
        _reload(evidence, settings),
        _level(evidence, settings),
        _findings(evidence, settings),
        Check(
            "latency",
            evidence.latency_ms <= settings.latency_budget_ms,
            f"{evidence.latency_ms:.1f} ms a frame, budget {settings.latency_budget_ms:.0f} ms",
        ),
    ]
    if evidence.champion is None:
        return checks
    if evidence.obstacle:
        return [*checks, Check("against the champion", False, evidence.obstacle)]
    return [
        *checks,
        _not_worse("source Dice", evidence.source, settings.source_margin, evidence.champion, settings),
        _not_worse(
            "target findings",
            evidence.target.assign(value=evidence.target["found"]),
            settings.found_margin,
            evidence.champion,
            settings,
        ),
        _steady(evidence, settings),
    ]


def _reload(evidence: Evidence, settings: GateSettings) -> Check:
    difference = evidence.reload_difference
    return Check(
        "reload",
        difference <= settings.largest_reload_difference,
        f"largest difference {difference:.2g}, allowed {settings.largest_reload_difference:.2g}",
    )


def _level(evidence: Evidence, settings: GateSettings) -> Check:
    values = _by_patient(evidence.source)["candidate"].to_numpy()
    interval = _interval(values, settings.statistics)
    shown = f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if len(values) else "none"
    return Check(
        "source level",
        bool(len(values)) and interval.mean >= settings.least_source_dsc,
        f"Dice {shown} on {len(values)} held-out source patients, at least {settings.least_source_dsc:.2f}",
    )


def _findings(evidence: Evidence, settings: GateSettings) -> Check:
    """A model that finds nothing would be called steady: two empty masks of one frame are the same."""
    table = evidence.target[evidence.target["model"] == "candidate"]
    share = float(table["found"].mean()) if len(table) else 0.0
    return Check(
        "target findings",
        bool(len(table)) and share >= settings.least_target_found,
        f"something found on {share:.0%} of the frames of {len(table)} target patients, at least "
        f"{settings.least_target_found:.0%}",
    )


def _steady(evidence: Evidence, settings: GateSettings) -> Check:
    assert evidence.champion is not None
    title = "target steadiness"
    champion = evidence.target[evidence.target["model"] == "champion"]
    if len(champion) and not champion["found"].any():
        # Else a champion that finds nothing could never be replaced: there is no mask to compare with.
        return Check(
            f"{title} against version {evidence.champion}",
            True,
            f"version {evidence.champion} finds nothing on {len(champion)} target patients",
        )
    return _not_worse(title, evidence.target, settings.target_margin, evidence.champion, settings)


def _not_worse(
    title: str, table: pd.DataFrame, margin: float, champion: int, settings: GateSettings
) -> Check:
    pairs = _by_patient(table).dropna()
    name = f"{title} against version {champion}"
    if len(pairs) < settings.least_patients or "champion" not in pairs:
        return Check(
            name,
            False,
            f"{len(pairs)} patients that neither has learned from and both have figures of, "
            f"{settings.least_patients} needed",
        )
    difference = (pairs["candidate"] - pairs["champion"]).to_numpy()
    # A bootstrap of equal values gives no interval of its own; a hair of rounding is no difference.
    interval = _interval(np.round(difference, 9), settings.statistics)
    holds = interval.low >= -margin
    better = ", better" if interval.low > 0 else ""
    return Check(
        name,
        bool(holds),
        f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] over {len(pairs)} patients, "
        f"not below {-margin:+.3f}{better}",
    )


def _by_patient(table: pd.DataFrame) -> pd.DataFrame:
    wide = table.pivot_table(index="patient", columns="model", values="value", aggfunc="mean")
    return wide.reindex(columns=sorted({"candidate", *wide.columns}))


def _interval(values: np.ndarray, settings: StatisticsSettings) -> Interval:
    # Imported here: settings of the gate are read at every start, and statistics take seconds to import.
    from crossprobe.evaluation.statistics import bootstrap_interval

    return bootstrap_interval(values, settings)
