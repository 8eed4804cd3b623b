"""Settings of a classifier: which backbone, which classes, what size of input."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SmallCnnConfig(BaseModel):
    """The small convolutional network of the fetal study (requirements S1-2 and S1-4)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filters: tuple[int, ...] = Field((16, 32, 64), min_length=1, description="Filters of each block")
    kernel_px: int = Field(3, ge=1, le=7, description="Side of the convolution kernels, pixels")
    batch_norm: bool = Field(False, description="Batch normalisation after each convolution")
    hidden: int = Field(64, ge=2, description="Width of the dense layer before the head")


class ClassifierConfig(BaseModel):
    """Architecture of a classifier; the checkpoint keeps it, and a predictor is rebuilt from it alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(..., description="A convolutional architecture of timm, or `small_cnn`")
    classes: tuple[str, ...] = Field(..., min_length=2, description="Names of the outputs, in their order")
    image_size: int = Field(..., ge=16, description="Side of the square input, pixels; others are resized")
    channels: Literal[1, 3] = Field(1, description="Input channels; a grey image is repeated for 3")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the head")
    drop_path: float = Field(0.0, ge=0, lt=1, description="Stochastic depth, where the backbone knows it")
    small_cnn: SmallCnnConfig = Field(default_factory=SmallCnnConfig)

    @model_validator(mode="after")
    def _classes_differ(self) -> ClassifierConfig:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes {list(self.classes)} must differ from one another")
        shrinks = 2 ** len(self.small_cnn.filters)
        if self.backbone == "small_cnn" and self.image_size < shrinks:
            raise ValueError(
                f"image_size {self.image_size} is too small for {len(self.small_cnn.filters)} blocks, "
                f"each of which halves it: {shrinks} at least"
            )
        return self
