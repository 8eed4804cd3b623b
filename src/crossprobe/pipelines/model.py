"""The model a study uses, as parameters name it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.registry import model_config
from crossprobe.training.settings import RuntimeSettings


class ModelSettings(BaseModel):
    """A preset of the architecture and what differs from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = Field(description="Name of an architecture: `mini` or `r50_vit_b16`")
    image_size: int = Field(description="Side of the square input, pixels; the frame stores have it too")
    changes: dict[str, Any] = Field(default_factory=dict, description="Other fields of the architecture")
    imagenet_weights: str | None = Field(
        None, description="Local file of pretrained weights, or `timm` for its hub; for arms that start there"
    )

    def config(self) -> TransUNetConfig:
        """Gives the full settings of the architecture.

        Returns:
            The preset with its changes.

        Raises:
            CrossprobeError: If no preset has the name.
            ValueError: If a changed field does not exist or does not fit.
        """
        return model_config(self.preset, image_size=self.image_size, **self.changes)


def for_scoring(runtime: RuntimeSettings) -> RuntimeSettings:
    """Single precision for everything that is scored or fitted.

    In bf16 a frame's logits move with the size of the batch it came in; what is reported must not.

    Args:
        runtime: Where to compute.

    Returns:
        The same place, in fp32.
    """
    return runtime.model_copy(update={"precision": "fp32"})


def for_prediction(runtime: RuntimeSettings) -> RuntimeSettings:
    """The precision asked for on new files, which is single unless the user gives exactness for speed.

    Args:
        runtime: Where to compute.

    Returns:
        The same place, in the precision of `runtime.inference`.
    """
    return runtime.model_copy(update={"precision": runtime.inference.precision})
