"""What a study of classifiers is told: the model, its training, how it is scored and shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.adaptation.dann import DannSettings
from crossprobe.evaluation.comparison_settings import Family, StatisticsSettings
from crossprobe.models.classifier_config import ClassifierConfig, SmallCnnConfig
from crossprobe.tasks.classification import ClassLossSettings
from crossprobe.training.classification_augment import ClassificationAugmentSettings
from crossprobe.training.settings import TrainingSettings


class ClassifierModel(BaseModel):
    """The architecture and where it starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(description="A convolutional architecture of timm, or `small_cnn`")
    image_size: int = Field(
        ge=16, description="Side of the model's square input, pixels; frames are resized to it"
    )
    channels: Literal[1, 3] = Field(1, description="Input channels")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the head")
    drop_path: float = Field(0.0, ge=0, lt=1, description="Stochastic depth, where the backbone knows it")
    small_cnn: SmallCnnConfig = Field(default_factory=SmallCnnConfig)
    weights: str = Field(
        "random",
        description="Start of the backbone: `random`, `timm` for its hub, or the path of a local file",
    )

    def config(self, classes: tuple[str, ...]) -> ClassifierConfig:
        """Gives the full settings of the architecture for some classes."""
        return ClassifierConfig(classes=classes, **self.model_dump(exclude={"weights"}))


class ClassifierTraining(BaseModel):
    """The same budget, loss and augmentation for every arm; what differs stands in the arm's own line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...] | None = Field(
        None, min_length=2, description="Table of classes; all that the source's training part has when empty"
    )
    ignore_classes: tuple[str, ...] = Field(
        (), description="Classes whose images are left out, on every site"
    )
    model: ClassifierModel
    training: TrainingSettings
    augment: ClassificationAugmentSettings = Field(default_factory=ClassificationAugmentSettings)
    loss: ClassLossSettings = Field(default_factory=ClassLossSettings)
    standardise: bool = Field(True, description="Scale pixels by mean and deviation of the training images")
    dann: DannSettings = Field(default_factory=DannSettings)

    @model_validator(mode="after")
    def _apart(self) -> ClassifierTraining:
        both = sorted(set(self.classes or ()) & set(self.ignore_classes))
        if both:
            raise ValueError(f"classes and ignore_classes both name {', '.join(both)}")
        return self

    def for_arm(self, changes: dict[str, dict[str, Any]], seed: int | None) -> ClassifierTraining:
        """Lays an arm's own fields over the study's.

        Args:
            changes: Fields that differ, by block: `model`, `training`, `augment`, `dann`.
            seed: The arm's seed, or None.

        Returns:
            The settings of this arm.

        Raises:
            ValueError: A field does not exist or does not fit.
        """
        plain = self.model_dump(mode="python")
        for block, fields in changes.items():
            plain[block] = _merged(plain[block], fields)
        # A budget is given once: an arm's own kind of budget replaces the study's.
        own = changes.get("training", {})
        for given, other in (("steps", "epochs"), ("epochs", "steps")):
            if own.get(given) is not None and other not in own:
                plain["training"][other] = None
        if seed is not None:
            plain["training"]["seed"] = seed
        return ClassifierTraining.model_validate(plain)


class ClassifierScoring(BaseModel):
    """How trained classifiers are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(32, gt=0, description="Images classified at a time; changes no answer")
    tta: bool = Field(True, description="Answer by test-time augmentation too: mirrored and zoomed copies")
    mc_passes: int = Field(20, ge=0, description="Passes of MC dropout; none where 0 or without dropout")
    speed_repeats: int = Field(10, gt=0, description="Timed calls of every classifier")


class ClassifierPage(BaseModel):
    """What is compared and shown; declared before a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    subtitle: str = ""
    baseline: str | None = Field(None, description="Arm that others are compared with")
    statistics: StatisticsSettings = Field(default_factory=StatisticsSettings)
    families: tuple[Family, ...] = Field(
        (), description="Paired tests on patients, corrected by Holm; metrics `accuracy` and `brier`"
    )
    claimed: bool = Field(True, description="Show the figures that the study's paper claims, as claimed")
    cam_arms: tuple[str, ...] | None = Field(None, description="Arms whose Grad-CAM is drawn; all when empty")
    cam_images: int = Field(4, gt=0, description="Test images drawn, of different patients")


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
