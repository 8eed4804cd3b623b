"""How frames are scored; apart from the scoring itself, whose imports take seconds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ScoreSettings(BaseModel):
    """How frames are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(
        0.5, gt=0, lt=1, description="A pixel is foreground at this probability or above."
    )
    nsd_tolerance_mm: float = Field(
        1.0, gt=0, description="Border error forgiven, where mm a pixel are known."
    )
    nsd_tolerance_px: float = Field(
        3.0, gt=0, description="Border error forgiven in native pixels elsewhere."
    )
    calibration_bins: int = Field(15, ge=2, le=100, description="Equal bins of probability for the ECE.")


class SiteScoring(BaseModel):
    """How a site's frames are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(32, gt=0, description="Frames predicted at a time; changes no score.")
    scores: ScoreSettings = Field(default_factory=ScoreSettings)
