"""Settings of a TransUNet: one class describes every size of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PATCH_PX = 16


class TransUNetConfig(BaseModel):
    """Architecture of a TransUNet (Chen et al. 2021, arXiv:2102.04306).

    The two presets are :meth:`r50_vit_b16`, the model of the wrist study (105,275,921 parameters with one
    class), and :meth:`mini`, the same code at a size that two CPU cores can train.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["transunet"] = Field("transunet", description="Names the family in a checkpoint")
    image_size: int = Field(..., ge=32, multiple_of=PATCH_PX, description="Side of the square input, pixels")
    channels: Literal[1, 3] = Field(3, description="Input channels; grey images feed a 3-channel model too")
    classes: int = Field(1, ge=1, description="Output channels of the head")
    stem_width: int = Field(..., ge=4, description="Channels of the first convolution")
    stage_units: tuple[int, int, int] = Field(..., description="Bottleneck units in stages 1, 2 and 3")
    norm_groups: int = Field(..., ge=1, description="Groups of each group normalisation")
    shortcut_groups: int | None = Field(
        None, ge=1, description="Groups on projected shortcuts; none: one a channel, as in the public code"
    )
    width: int = Field(..., ge=8, description="Width of a token")
    depth: int = Field(..., ge=1, description="Transformer layers")
    heads: int = Field(..., ge=1, description="Attention heads a layer")
    mlp_width: int = Field(..., ge=8, description="Hidden width of a layer's perceptron")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on embeddings and in perceptrons")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on attention weights")
    decoder_entry_width: int = Field(..., ge=4, description="Channels after the decoder's first convolution")
    decoder_widths: tuple[int, int, int, int] = Field(
        ..., description="Channels of the four decoder blocks, from 1/8 of the input side to the full side"
    )

    @model_validator(mode="after")
    def _widths_divide(self) -> TransUNetConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        for name in ("norm_groups", "shortcut_groups"):
            groups = getattr(self, name)
            if groups and self.stem_width % groups:
                raise ValueError(f"stem_width {self.stem_width} must be a multiple of {name} {groups}")
        if min(self.stage_units) < 1 or min(self.decoder_widths) < 1:
            raise ValueError("every stage needs at least one unit and every decoder block one channel")
        return self

    @classmethod
    def r50_vit_b16(cls, image_size: int = 224, **changes: Any) -> TransUNetConfig:
        """The full model: three ResNet-50 stages, twelve layers of width 768 (requirement S3-6).

        Args:
            image_size: Side of the square input in pixels, a multiple of 16.
            changes: Any other field, for example ``channels=1`` or ``classes=3``.

        Returns:
            The settings.
        """
        fields: dict[str, Any] = {
            "stem_width": 64,
            "stage_units": (3, 4, 9),
            "norm_groups": 32,
            "width": 768,
            "depth": 12,
            "heads": 12,
            "mlp_width": 3072,
            "decoder_entry_width": 512,
            "decoder_widths": (256, 128, 64, 16),
        }
        return cls(image_size=image_size, **(fields | changes))

    @classmethod
    def mini(cls, image_size: int = 112, **changes: Any) -> TransUNetConfig:
        """A small TransUNet for laptops: every part of the full model is there, only narrower and shallower.

        Args:
            image_size: Side of the square input in pixels, a multiple of 16.
            changes: Any other field.

        Returns:
            The settings.
        """
        fields: dict[str, Any] = {
            "channels": 1,
            "stem_width": 16,
            "stage_units": (1, 1, 2),
            "norm_groups": 8,
            "width": 128,
            "depth": 4,
            "heads": 4,
            "mlp_width": 512,
            "dropout": 0.0,
            "decoder_entry_width": 128,
            "decoder_widths": (64, 32, 16, 8),
        }
        return cls(image_size=image_size, **(fields | changes))

    @property
    def grid(self) -> int:
        """Tokens along one side of the image."""
        return self.image_size // PATCH_PX

    @property
    def skip_widths(self) -> tuple[int, int, int]:
        """Channels of the skips at 1/8, 1/4 and 1/2 of the input side."""
        return 8 * self.stem_width, 4 * self.stem_width, self.stem_width
