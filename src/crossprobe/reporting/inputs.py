"""Everything a report is made from: tables, facts and pictures, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from crossprobe.evaluation.arms_table import declared_p
from crossprobe.evaluation.comparison_settings import ArmRoles, StatisticsSettings
from crossprobe.evaluation.statistics import compare
from crossprobe.reporting.blocks import ReportImage, Section
from crossprobe.reporting.wording import Compared

_PARTS = ("difference", "low", "high", "p_holm")


@dataclass(frozen=True)
class ReportInputs:
    """What goes into a report. Only the first three tables are needed; what is missing is left out and said.

    Attributes:
        title: Title of the page.
        patients: Long patient table, from `patient_scores`.
        arms: From `arms_table`.
        comparisons: From `comparisons`.
        subtitle: One line under the title.
        roles: Which arm plays which part.
        statistics: How intervals were drawn.
        breakdown: From `breakdown`.
        empty_counts: From `empty_counts`.
        label_free: From `label_free_table`.
        regret: From `regret`.
        histories: `stage, arm, step, part, metric, value`.
        reliability: From `reliability_table`, arms stacked.
        speed: Rows of `measure_speed`.
        rejections: `site, stage, item, reason`.
        cohort: Who is in the data: any table whose first columns name site and part.
        facts: Groups of keys and values: hashes, seeds, versions, device.
        parameters: The run's parameters, nested as in YAML.
        images: Pictures by section: `panels`, `weights`, `reconstruction`, `phantom`, `scans`.
        pretrained: Arms that start from self-supervision on the target; guessed from the roles where None.
        saw_target_labels: Arms that learned from target labels; the reference alone where None.
        extra: Further sections, set before the limits.
    """

    title: str
    patients: pd.DataFrame
    arms: pd.DataFrame
    comparisons: pd.DataFrame
    subtitle: str = ""
    roles: ArmRoles = field(default_factory=ArmRoles)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)
    breakdown: pd.DataFrame | None = None
    empty_counts: pd.DataFrame | None = None
    label_free: pd.DataFrame | None = None
    regret: pd.DataFrame | None = None
    histories: pd.DataFrame | None = None
    reliability: pd.DataFrame | None = None
    speed: pd.DataFrame | None = None
    rejections: pd.DataFrame | None = None
    cohort: pd.DataFrame | None = None
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    images: Mapping[str, Sequence[ReportImage]] = field(default_factory=dict)
    pretrained: Sequence[str] | None = None
    saw_target_labels: Sequence[str] | None = None
    extra: Sequence[Section] = ()

    def names(self) -> list[str]:
        """Arms in order."""
        return list(dict.fromkeys(self.arms["arm"]))

    def n_seeds(self) -> int:
        """How often arms were trained, each time with another seed."""
        return int(self.patients["seed"].nunique()) if "seed" in self.patients else 1

    def target_scored(self) -> bool:
        """Whether any arm has a score on the target; without test labels there is none."""
        return "target" in set(self.arms["site"])

    def left_out(self) -> list[str]:
        """Arms that were to learn from target labels and were not trained, for lack of them."""
        return [arm for arm in self.saw_target_labels or () if arm not in self.names()]

    def row(self, arm: str | None, site: str = "target", metric: str = "dsc") -> pd.Series | None:
        """Finds an arm's row of the table of arms."""
        table = self.arms
        found = table[(table["arm"] == arm) & (table["site"] == site) & (table["metric"] == metric)]
        return found.iloc[0] if len(found) else None

    def to_role(self, arm: str | None, role: str, site: str = "target") -> Compared | None:
        """Reads an arm's difference in DSC to the baseline or the fused arm; None where there is none."""
        row = self.row(arm, site)
        if row is None or not math.isfinite(row[f"{role}_difference"]):
            return None
        difference, low, high, p = (float(row[f"{role}_{part}"]) for part in _PARTS)
        return Compared(difference, low, high, p, int(row["n_patients"]))

    def compared(self, arm: str, against: str) -> Compared:
        """Compares any two arms in target DSC; the corrected p only where the pair was declared."""
        found = compare(self.patients, arm, against, "target", "dsc", self.statistics)
        difference, low, high, count = (found[part] for part in ("difference", "low", "high", "n_patients"))
        p = declared_p(self.comparisons, arm, against, "target", "dsc")
        return Compared(float(difference), float(low), float(high), p, int(count))

    def without_target_labels(self) -> list[str]:
        """Arms that never saw a label of the target."""
        seen = [self.roles.reference] if self.saw_target_labels is None else self.saw_target_labels
        return [arm for arm in self.names() if arm not in seen]

    def self_supervised(self) -> list[str]:
        """Arms pretrained on the target: neither baseline, reference, nor made of other arms."""
        if self.pretrained is not None:
            return [arm for arm in self.names() if arm in self.pretrained]
        roles = self.roles
        apart = {roles.baseline, roles.reference, roles.fused, roles.average}
        return [
            arm for arm in self.names() if arm not in apart and not arm.startswith(("source_only", "fused"))
        ]
