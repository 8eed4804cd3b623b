"""Which predicted frames a person should read: those on which the model was unsure where it mattered.

The confidence of a frame is the mean over the predicted area and its nearly predicted surroundings. Below a
bound that validation frames of the source gave, the frame is flagged (selective prediction; El-Yaniv and
Wiener, JMLR 2010). A frame in which nothing is found is always flagged: a miss looks like that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.errors import CrossprobeError

NOTHING_FOUND = "nothing found"


class ReadingSettings(BaseModel):
    """How the bound is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    poor_dsc: float = Field(0.7, gt=0, lt=1, description="A frame below this Dice ought to be flagged")
    catch_share: float = Field(0.8, gt=0, le=1, description="Share of the poor frames to be caught")
    least_flagged: float = Field(0.05, ge=0, le=1, description="Share flagged at least, the least confident")
    most_flagged: float = Field(0.3, gt=0, le=1, description="Share flagged at most, whatever is then missed")


class ReadingRule(BaseModel):
    """The rule a model carries, and what it did on the validation frames that it was chosen on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_confidence: float = Field(ge=0, le=1, description="Frames below are flagged")
    poor_dsc: float = Field(gt=0, lt=1, description="What counted as poor")
    frames: int = Field(ge=1, description="Validation frames of the source")
    poor_frames: int = Field(ge=0, description="Poor ones among them")
    flagged_share: float = Field(ge=0, le=1, description="Share flagged")
    caught_share: float | None = Field(
        ge=0, le=1, description="Share of the poor ones flagged; none: no poor"
    )

    def verdict(self, confidence: float | None) -> str:
        """Says why a person should read a frame.

        Args:
            confidence: From `frame_confidence`.

        Returns:
            The reason; empty where there is none.
        """
        if confidence is None:
            return NOTHING_FOUND
        if confidence < self.least_confidence:
            return f"unsure: confidence {confidence:.3f} below {self.least_confidence:.3f}"
        return ""


def frame_confidence(probability: np.ndarray, confidence: np.ndarray, threshold: float) -> float | None:
    """Averages confidence over pixels of at least half the threshold's probability.

    Half, and not the threshold: an area that was suspected and just not called must count.

    Args:
        probability: [H, W] in [0, 1].
        confidence: [H, W] in [0, 1].
        threshold: Probability from which a pixel is foreground.

    Returns:
        Mean in [0, 1]; None where no pixel is foreground.
    """
    if not bool((probability >= threshold).any()):
        return None
    return float(confidence[probability >= threshold / 2].mean(dtype=np.float64))


@dataclass(frozen=True)
class JudgedFrame:
    """Confidence (None: nothing found) and Dice of one validation frame."""

    confidence: float | None
    dsc: float


def fit_reading_rule(frames: Sequence[JudgedFrame], settings: ReadingSettings) -> ReadingRule:
    """Takes the lowest bound that catches enough of the poor frames, within the shares allowed.

    Args:
        frames: Validation frames.
        settings: How the bound is chosen.

    Returns:
        The rule with its figures on these frames.

    Raises:
        CrossprobeError: No frames.
    """
    if not frames:
        raise CrossprobeError("the reading rule needs validation frames; the source's part `val` has none")
    sureness = np.array([-1.0 if frame.confidence is None else frame.confidence for frame in frames])
    poor = np.array([frame.dsc < settings.poor_dsc for frame in frames])
    bound = lowest_bound(sureness, poor, settings.catch_share, settings.least_flagged, settings.most_flagged)
    flagged = sureness < bound
    return ReadingRule(
        least_confidence=bound,
        poor_dsc=settings.poor_dsc,
        frames=len(frames),
        poor_frames=int(poor.sum()),
        flagged_share=float(flagged.mean()),
        caught_share=float(flagged[poor].mean()) if poor.any() else None,
    )


def lowest_bound(
    sureness: np.ndarray, poor: np.ndarray, catch_share: float, least_flagged: float, most_flagged: float
) -> float:
    """Finds the lowest confidence below which enough of the poor answers lie, within the shares allowed.

    Args:
        sureness: Confidence [N]; -1 for what is always flagged.
        poor: Boolean [N], what ought to be flagged.
        catch_share: Share of the poor to be flagged.
        least_flagged: Share flagged at least.
        most_flagged: Share flagged at most, whatever is then missed.

    Returns:
        The bound in [0, 1].
    """
    # Flagging everything below a frame's confidence and a hair: one candidate a frame, lowest first.
    bounds = np.unique(np.clip(np.nextafter(np.float64(sureness), 2.0), 0.0, 1.0))
    shares = np.array([(sureness < bound).mean() for bound in bounds])
    caught = np.array([(sureness[poor] < bound).mean() if poor.any() else 1.0 for bound in bounds])
    enough = (shares >= least_flagged) & (caught >= catch_share)
    allowed = shares <= most_flagged
    if (enough & allowed).any():
        return float(bounds[np.flatnonzero(enough & allowed)[0]])
    return float(bounds[allowed][-1]) if allowed.any() else 0.0
