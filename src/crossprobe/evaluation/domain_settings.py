"""Settings of the comparison of two devices."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FrozenEncoder(BaseModel):
    """A network that only looks: none of its weights changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("resnet18", description="Architecture, as timm names it")
    weights: str = Field(
        "random", description="`random`, `timm` for its hub, or a local file of weights for this architecture"
    )
    seed: int = Field(0, ge=0, description="Of random weights; both sites must use the same")
    batch_size: int = Field(32, ge=1, description="Frames at once")


class TextureSettings(BaseModel):
    """How speckle and grey levels are measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_px: int = Field(9, ge=3, le=63, description="Side of the windows of local statistics, stored px")
    dynamic_range_db: float = Field(
        60.0, gt=0, le=120, description="Assumed range of the display, to undo its logarithm for speckle"
    )
    darkest_tissue: int = Field(8, ge=0, le=254, description="Grey level from which on a pixel is tissue")
    frequencies: int = Field(32, ge=4, le=256, description="Bins of a spectrum, 0 to .5 cycles a stored px")


class DistanceSettings(BaseModel):
    """How distances between devices are estimated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    components: int = Field(16, ge=1, le=256, description="Principal components that features are cut to")
    folds: int = Field(
        5, ge=2, le=20, description="Folds by patient of the classifier that tells devices apart"
    )
    permutations: int = Field(100, ge=0, le=10000, description="Shuffles of patients between the devices")
    resamples: int = Field(1000, ge=10, le=100000, description="Bootstrap samples of patients")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of intervals")
    seed: int = Field(0, ge=0, description="Of shuffles and samples")


class DomainDifferenceSettings(BaseModel):
    """What the pipeline `domain_difference` looks at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str = Field("train", description="Part of each site that is looked at; the test part stays closed")
    frames_per_patient: int = Field(4, ge=1, description="Evenly spread frames of a patient")
    patients: int = Field(200, ge=2, description="Most patients of a site, evenly spread")
    texture: TextureSettings = Field(TextureSettings(), description="Grey levels, spectra and speckle.")
    encoder: FrozenEncoder = Field(FrozenEncoder(), description="Gives the features.")
    distance: DistanceSettings = Field(DistanceSettings(), description="Distances and their uncertainty.")
    shown_frames: int = Field(3, ge=1, le=12, description="Frames of a site in the before / after panel")
