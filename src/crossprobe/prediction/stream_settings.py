"""Settings of prediction over a stream of frames."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.preprocessing import Chain, checked_chain
from crossprobe.data.ultrasound_area import AreaSettings


class StreamSettings(BaseModel):
    """How frames are prepared, as the frames the model was trained on were, and in what portions they go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(8, ge=1, description="Frames a forward pass; 1 answers each frame soonest")
    look_ahead_frames: int = Field(
        40, ge=1, le=1000, description="First frames that decide where the ultrasound area lies"
    )
    read_ahead_batches: int = Field(
        2, ge=0, description="Batches decoded and prepared while the model works; 0 asks for a frame when due"
    )
    threshold: float = Field(0.5, gt=0.0, lt=1.0, description="Probability from which a pixel is foreground")
    smallest_side_px: int = Field(32, ge=1, description="A smaller ultrasound area is refused")
    overlay: Literal["off", "detect", "inpaint"] = Field(
        "detect", description="Burnt-in text inside the area is filled in by `inpaint` and left otherwise"
    )
    preprocessing: Annotated[Chain, AfterValidator(checked_chain)] = Field(
        (), description="Steps applied to every frame, in order"
    )
    area: AreaSettings = Field(AreaSettings(), description="How the ultrasound area is found")

    @classmethod
    def like(cls, frames: FrameSettings, **changes: Any) -> StreamSettings:
        """Prepares frames as a frame store did.

        Args:
            frames: Settings of the frame store that the model was trained on.
            changes: Any other field.

        Returns:
            The settings.
        """
        shared = ("smallest_side_px", "overlay", "preprocessing", "area")
        return cls(**({name: getattr(frames, name) for name in shared} | changes))
