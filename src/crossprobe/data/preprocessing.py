"""A chain of steps between a frame as recorded and the frame as stored: crop, grey levels, speckle.

Off by default. What a chain does to two devices can be measured with the pipeline `domain_difference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.data.ultrasound_area import Area

DARKEST_TISSUE = 8


class Crop(BaseModel):
    """Cuts shares off the sides of the ultrasound area; masks are cut alike. Stands before other steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["crop"] = Field("crop", description="Cuts the sides off")
    left: float = Field(0.0, ge=0, le=0.45, description="Share of the width")
    top: float = Field(0.0, ge=0, le=0.45, description="Share of the height")
    right: float = Field(0.0, ge=0, le=0.45, description="Share of the width")
    bottom: float = Field(0.0, ge=0, le=0.45, description="Share of the height")


class PercentileStretch(BaseModel):
    """Stretches the grey levels of the tissue from one percentile to another over the whole range."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["percentile"] = Field("percentile", description="Stretches the grey levels")
    low_percent: float = Field(1.0, ge=0, lt=50, description="Becomes black")
    high_percent: float = Field(99.0, gt=50, le=100, description="Becomes white")


class Standardise(BaseModel):
    """Gives the tissue of every frame one mean and one deviation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["standardise"] = Field("standardise", description="Gives all frames one mean and deviation")
    mean_level: float = Field(90.0, gt=0, lt=255, description="Mean grey level of the tissue afterwards")
    deviation_levels: float = Field(45.0, gt=0, lt=128, description="Its standard deviation afterwards")


class Clahe(BaseModel):
    """Equalises contrast tile by tile, with a limit (Zuiderveld, Graphics Gems IV, 1994)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["clahe"] = Field("clahe", description="Equalises contrast tile by tile, with a limit")
    clip_limit: float = Field(2.0, gt=0, le=40, description="Limit of the contrast, in mean bin heights")
    tiles: int = Field(8, ge=1, le=64, description="Tiles along a side")


class Median(BaseModel):
    """Takes the median of the neighbourhood: removes single bright grains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["median"] = Field("median", description="Median of the neighbourhood")
    size_px: Literal[3, 5, 7, 9] = Field(3, description="Side of the neighbourhood, native px")


class Bilateral(BaseModel):
    """Averages neighbours of like grey level, so that edges stay (Tomasi and Manduchi, ICCV 1998)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["bilateral"] = Field("bilateral", description="Averages neighbours of like grey level")
    diameter_px: int = Field(7, ge=3, le=25, description="Reach, native px")
    sigma_levels: float = Field(35.0, gt=0, le=255, description="How unlike neighbours may be")
    sigma_px: float = Field(3.0, gt=0, le=25, description="How far they count")


class NonLocalMeans(BaseModel):
    """Averages places whose surroundings look alike (Buades, Coll, Morel, CVPR 2005)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["non_local_means"] = Field("non_local_means", description="Averages places that look alike")
    strength_levels: float = Field(12.0, gt=0, le=100, description="How unlike they may be")
    patch_px: int = Field(5, ge=3, le=15, description="Side of what is compared, native px; odd")
    window_px: int = Field(15, ge=5, le=41, description="Side of the search, native px; odd")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.patch_px % 2 == 0 or self.window_px % 2 == 0:
            raise ValueError(f"patch_px and window_px must be odd, got {self.patch_px} and {self.window_px}")
        return self


class TotalVariation(BaseModel):
    """Flattens what is not an edge (Rudin, Osher, Fatemi, Physica D 1992; Chambolle's algorithm, 2004)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["total_variation"] = Field("total_variation", description="Flattens all but edges")
    weight: float = Field(0.08, gt=0, le=1, description="The more, the flatter; for levels in 0 to 1")


Step = Annotated[
    Crop | PercentileStretch | Standardise | Clahe | Median | Bilateral | NonLocalMeans | TotalVariation,
    Field(discriminator="step"),
]
Chain = tuple[Step, ...]


def checked_chain(chain: Chain) -> Chain:
    """Refuses a chain whose crops do not come first: masks and crops are settled before any pixel is changed.

    Args:
        chain: Steps.

    Returns:
        The same.

    Raises:
        ValueError: A crop stands after another step.
    """
    kinds = [isinstance(step, Crop) for step in chain]
    if kinds != sorted(kinds, reverse=True):
        raise ValueError(f"crop must come before all other steps, got {[step.step for step in chain]}")
    return chain


def cropped_area(area: Area, chain: Sequence[Step]) -> Area:
    """Applies the crops of a chain to the ultrasound area.

    Args:
        area: As found.
        chain: Steps.

    Returns:
        The smaller area; the same one where the chain has no crop.
    """
    for step in chain:
        if isinstance(step, Crop):
            left, right = (int(share * area.width) for share in (step.left, step.right))
            top, bottom = (int(share * area.height) for share in (step.top, step.bottom))
            area = area._replace(
                top=area.top + top,
                left=area.left + left,
                height=area.height - top - bottom,
                width=area.width - left - right,
            )
    return area


def preprocess(frame: np.ndarray, chain: Sequence[Step]) -> np.ndarray:
    """Applies all steps of a chain but crops, in order.

    Args:
        frame: Shape [H, W], uint8, cropped to the area.
        chain: Steps.

    Returns:
        Shape [H, W], uint8; the frame itself where nothing is to be done.
    """
    for step in chain:
        frame = _apply(frame, step)
    return frame


def stages(frame: np.ndarray, chain: Sequence[Step]) -> list[tuple[str, np.ndarray]]:
    """Shows what a chain does, step by step.

    Args:
        frame: As for `preprocess`.
        chain: Steps.

    Returns:
        Name of each step that changes pixels, and the frame after it.
    """
    shown: list[tuple[str, np.ndarray]] = []
    for step in chain:
        if not isinstance(step, Crop):
            frame = _apply(frame, step)
            shown.append((step.step, frame))
    return shown


def _apply(frame: np.ndarray, step: Step) -> np.ndarray:
    if isinstance(step, PercentileStretch):
        return _stretched(frame, step)
    if isinstance(step, Standardise):
        return _standardised(frame, step)
    if isinstance(step, Clahe):
        return np.asarray(cv2.createCLAHE(step.clip_limit, (step.tiles, step.tiles)).apply(frame))
    if isinstance(step, Median):
        return np.asarray(cv2.medianBlur(frame, step.size_px))
    if isinstance(step, Bilateral):
        return np.asarray(cv2.bilateralFilter(frame, step.diameter_px, step.sigma_levels, step.sigma_px))
    if isinstance(step, NonLocalMeans):
        return np.asarray(
            cv2.fastNlMeansDenoising(frame, None, step.strength_levels, step.patch_px, step.window_px)
        )
    if isinstance(step, TotalVariation):
        from skimage.restoration import denoise_tv_chambolle

        return _levels(denoise_tv_chambolle(frame / 255, weight=step.weight) * 255)
    return frame


def _stretched(frame: np.ndarray, step: PercentileStretch) -> np.ndarray:
    tissue = frame[frame >= DARKEST_TISSUE]
    if not tissue.size:
        return frame
    low, high = np.percentile(tissue, [step.low_percent, step.high_percent])
    return _levels((frame - low) * 255 / (high - low)) if high > low else frame


def _standardised(frame: np.ndarray, step: Standardise) -> np.ndarray:
    inside = frame >= DARKEST_TISSUE
    tissue = frame[inside]
    if not tissue.size or tissue.std() == 0:
        return frame
    scaled = (frame - tissue.mean()) / tissue.std() * step.deviation_levels + step.mean_level
    # What is black, behind a shadow or beside the fan, holds no signal to lift.
    return np.where(inside, _levels(scaled), frame)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
