"""Settings of prediction on files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.media_limits import MediaLimits


class OutputSettings(BaseModel):
    """What is written for every file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    masks: bool = Field(True, description="Mask of every frame as PNG, 0 and 255, native size")
    confidence: bool = Field(True, description="Confidence map of every frame as PNG, 0 to 255")
    overlay: bool = Field(
        True, description="The clip with outlines drawn in, mp4 (a still: PNG); shows pixels"
    )
    nifti: bool = Field(False, description="All masks of a clip as one NIfTI file")
    dicom_seg: bool = Field(False, description="All masks of a clip as one DICOM segmentation")
    table: Literal["csv", "parquet"] = Field("csv", description="Format of the tables")


class PredictionSettings(BaseModel):
    """How files are predicted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outputs: OutputSettings = Field(default_factory=OutputSettings)
    limits: MediaLimits = Field(default_factory=MediaLimits, description="Larger files are refused")
    batch_size: int = Field(8, ge=1, description="Frames a forward pass")
    spacing_mm: float | None = Field(None, gt=0, description="Side of a pixel, for files that do not say")
