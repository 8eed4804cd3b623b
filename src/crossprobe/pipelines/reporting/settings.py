"""What is compared, chosen and shown; declared before a run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.evaluation.comparison_settings import ArmRoles, Family, StatisticsSettings
from crossprobe.reporting.ablation_sections import AblationTable


class ComparisonSettings(BaseModel):
    """Intervals, families of tests and the part each arm plays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)
    families: tuple[Family, ...] = Field(min_length=1, description="Families corrected by Holm")
    claimed: bool = Field(True, description="Show the wrist paper's figures beside ours, as claimed")
    roles: ArmRoles = Field(default_factory=ArmRoles)


class ChoiceSettings(BaseModel):
    """How an arm is chosen on the target without labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames_per_video: int = Field(8, gt=0, description="Evenly spread frames of each selection video")


class ReportSettings(BaseModel):
    """What the page shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    subtitle: str = ""
    panel_arms: tuple[str, ...] | None = Field(None, description="Arms drawn in panels; all where null")
    panels: int = Field(5, gt=0, description="Target test frames drawn, each of another patient")
    ablations: tuple[AblationTable, ...] = Field((), description="Questions set side by side in tables")
    speed_repeats: int = Field(15, gt=0, description="Timed calls of every predictor")
    speed_batch: int = Field(8, gt=0, description="Frames of the batch that is timed")
