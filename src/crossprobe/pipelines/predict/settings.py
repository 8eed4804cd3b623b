"""Which files are predicted, with which model."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.prediction.settings import PredictionSettings


class PredictJob(BaseModel):
    """One job: a model, files, a folder for the results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="`models:/NAME@champion`, `models:/NAME/VERSION`, or a package's folder")
    paths: tuple[Path, ...] = Field((), description="Images, videos, DICOM files, and folders of them")
    output: Path = Field(description="Folder of the results")
    settings: PredictionSettings = Field(
        default_factory=PredictionSettings, description="How, and what is written"
    )
