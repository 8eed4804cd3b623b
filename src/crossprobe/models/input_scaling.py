"""How pixels become model input; kept in the checkpoint, because weights mean nothing without it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class InputScaling(BaseModel):
    """Mean and standard deviation that standardise images in [0, 1]; the default leaves them alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float = Field(0.0, ge=0, le=1, description="Mean of the training pixels, in [0, 1]")
    std: float = Field(1.0, gt=0, description="Standard deviation of the training pixels")

    def apply(self, images: Tensor) -> Tensor:
        """Standardises images.

        Args:
            images: Float images in [0, 1], any shape.

        Returns:
            Float images of the same shape.
        """
        return (images - self.mean) / self.std
