"""Settings of the frames stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from crossprobe.data.media_limits import MediaLimits
from crossprobe.data.preprocessing import Chain, checked_chain
from crossprobe.data.ultrasound_area import AreaSettings


class FrameSettings(BaseModel):
    """How recordings become frames. `workers` changes no pixel and is left out of the fingerprint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(224, ge=32, le=1024, description="Side of the stored square frames, px.")
    smallest_side_px: int = Field(32, ge=1, description="Frames whose cropped area is smaller are rejected.")
    blank_level: int = Field(
        12, ge=0, le=255, description="A frame is blank if 99 % of its pixels are below it."
    )
    blank_deviation: float = Field(2.0, ge=0, description="... or if its grey levels deviate less than this.")
    frozen_difference: float = Field(
        0.05,
        ge=0,
        description="A frame is frozen if it differs less from the last one kept (mean grey levels).",
    )
    overlay: Literal["off", "detect", "inpaint"] = Field(
        "detect", description="Burnt-in text, calipers and ticks inside the area: leave, count, or fill in."
    )
    preprocessing: Annotated[Chain, AfterValidator(checked_chain)] = Field(
        (), description="Steps applied to every frame, in order; none by default."
    )
    limits: MediaLimits = Field(MediaLimits(), description="Larger files, and masks, are rejected.")
    area: AreaSettings = Field(AreaSettings(), description="How the ultrasound area is found.")
    workers: int = Field(0, ge=0, description="Processes that decode; 0 means one a processor core.")

    @model_serializer(mode="wrap")
    def _without_late_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what came later and is not used, so that older stores and models are still found."""
        values: dict[str, Any] = handler(self)
        if not values.get("preprocessing", True):
            values.pop("preprocessing")
        if self.limits == MediaLimits():
            values.pop("limits", None)
        return values
