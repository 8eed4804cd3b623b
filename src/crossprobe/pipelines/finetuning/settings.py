"""How every arm is fine-tuned."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.training.dice_bce import DiceBceSettings
from crossprobe.training.segmentation_augment import SegmentationAugmentSettings
from crossprobe.training.settings import TrainingSettings


class FinetuningSettings(BaseModel):
    """The same budget, loss and augmentation for every arm: only the start and the labels differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainingSettings
    augment: SegmentationAugmentSettings = Field(default_factory=SegmentationAugmentSettings)
    loss: DiceBceSettings = Field(default_factory=DiceBceSettings)
    standardise: bool = Field(True, description="Scale pixels by mean and deviation of the training frames")
    mirrored: bool = Field(
        False, description="Answer with the mean logits of each frame and its mirror image; twice the work"
    )
    minimum_coverage: float = Field(
        1.0, gt=0, le=1, description="Least share of the encoder a start must fill"
    )

    @model_validator(mode="after")
    def _matched(self) -> FinetuningSettings:
        if self.training.steps is None:
            raise ValueError(
                "finetuning.training: give `steps`, not `epochs`: arms learn from different numbers of "
                "frames, and epochs would give them different numbers of steps (epochs x frames / batch_size)"
            )
        return self
