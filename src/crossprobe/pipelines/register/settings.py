"""What a model must show before it is used."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.evaluation.classifier_gate import ClassifierGateSettings
from crossprobe.evaluation.promotion_gate import GateSettings
from crossprobe.prediction.class_reading import ClassReadingSettings
from crossprobe.prediction.reading_rule import ReadingSettings


class RegistrationSettings(BaseModel):
    """How an arm becomes a version in the registry, and a version the champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="Name of the registered model")
    answer: str = Field("entropy", description="Way of fusing that the model answers by, from `fusion.fused`")
    reading: ReadingSettings = Field(
        default_factory=ReadingSettings, description="Which frames a person reads"
    )
    gate: GateSettings = Field(default_factory=GateSettings, description="What a model must show")
    reload_frames: int = Field(8, ge=1, le=256, description="Frames predicted again in a fresh process")
    frames_per_video: int = Field(4, ge=1, description="Unlabelled target frames of each video that are used")
    latency_repeats: int = Field(10, ge=1, le=1000, description="Timed frames")


class ClassifierRegistration(BaseModel):
    """How a classifier becomes a version in the registry, and a version the champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="Name of the registered model")
    reading: ClassReadingSettings = Field(
        default_factory=ClassReadingSettings, description="Which frames a person reads"
    )
    gate: ClassifierGateSettings = Field(
        default_factory=ClassifierGateSettings, description="What a model must show"
    )
    reload_frames: int = Field(8, ge=1, le=256, description="Frames classified again in a fresh process")
    latency_repeats: int = Field(10, ge=1, le=1000, description="Timed frames")
