"""How encoders are pretrained, one class a method."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.models.projection import ProjectionConfig
from crossprobe.ssl.augment import ContrastiveAugmentSettings
from crossprobe.ssl.frame_sampler import FrameSamplerSettings
from crossprobe.ssl.mim import MimSettings
from crossprobe.ssl.nt_xent import NtXentSettings
from crossprobe.training.settings import TrainingSettings


class MimPretraining(BaseModel):
    """Masked image modelling on the unlabelled target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainingSettings
    masking: MimSettings = Field(default_factory=MimSettings)
    standardise: bool = Field(True, description="Scale pixels by mean and deviation of the training frames")
    panels: int = Field(4, gt=0, description="Selection frames shown with their reconstruction")


class ContrastivePretraining(BaseModel):
    """Contrastive learning on the unlabelled target; an arm may override temperature and frame gap."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainingSettings
    augment: ContrastiveAugmentSettings = Field(default_factory=ContrastiveAugmentSettings)
    sampler: FrameSamplerSettings = Field(default_factory=FrameSamplerSettings)
    loss: NtXentSettings = Field(default_factory=NtXentSettings)
    projection: ProjectionConfig = Field(default_factory=ProjectionConfig)
    standardise: bool = Field(True, description="Scale pixels by mean and deviation of the training frames")

    @model_validator(mode="after")
    def _one_batch(self) -> ContrastivePretraining:
        if self.training.accumulate > 1:
            raise ValueError(
                "pretraining.contrastive.training.accumulate must be 1: negatives come from the batch, and "
                "several small batches are not one large one"
            )
        return self
