"""What is compared and how; apart from the statistics, whose imports take seconds."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

LOWER_IS_BETTER = ("hd95_mm", "hd95_px", "assd_mm", "assd_px", "ece", "brier")
SMALLEST_TESTABLE = 6
"""Pairs below which a two-sided signed rank test cannot reach .05, whatever the data."""


class StatisticsSettings(BaseModel):
    """How intervals are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    resamples: int = Field(5000, ge=100, le=100_000, description="Bootstrap samples.")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")


class Family(BaseModel):
    """A family of comparisons, declared before the run and corrected together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("primary", description="Shown beside every p of the family.")
    sites: tuple[str, ...] = Field(("target",), min_length=1, description="Sites compared on.")
    metrics: tuple[str, ...] = Field(("dsc",), min_length=1, description="Metrics compared.")
    against: tuple[str, ...] = Field(("source_only",), min_length=1, description="Reference arms.")
    arms: tuple[str, ...] | None = Field(None, description="Arms compared with them; all others where null.")

    def pairs(self, present: Sequence[str]) -> list[tuple[str, str]]:
        """Lists each pair (arm, reference) once, whichever way round, among the arms that are present."""
        pairs: dict[frozenset[str], tuple[str, str]] = {}
        for reference in self.against:
            for arm in self.arms if self.arms is not None else present:
                if arm != reference and {arm, reference} <= set(present):
                    pairs.setdefault(frozenset((arm, reference)), (arm, reference))
        return list(pairs.values())


class ArmRoles(BaseModel):
    """Which arm plays which part in the comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    baseline: str = Field("source_only", description="Learns from the source alone; always a candidate.")
    fused: str | None = Field("fused_entropy", description="The fusion under test.")
    average: str | None = Field("fused_average", description="The plain average of the same branches.")
    branches: tuple[str, ...] = Field(("mim", "mt_nxent"), description="Arms that the fusion joins.")
    reference: str | None = Field("target_supervised", description="Learns from target labels.")

    def claimed_as(self, arm: str) -> str:
        """Name under which a paper's figure for the arm is filed."""
        return "fused" if arm == self.fused else arm
