"""Which classified frames a person should read: those whose likeliest class is not likely enough.

The confidence of an answer is its largest calibrated probability (maximum softmax probability; Hendrycks and
Gimpel, ICLR 2017). Below a bound that validation images of the source gave, the frame is flagged.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.reading_rule import lowest_bound


class ClassReadingSettings(BaseModel):
    """How the bound is chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catch_share: float = Field(0.8, gt=0, le=1, description="Share of the wrong answers to be caught")
    least_flagged: float = Field(0.05, ge=0, le=1, description="Share flagged at least, the least confident")
    most_flagged: float = Field(0.3, gt=0, le=1, description="Share flagged at most, whatever is then missed")


class ClassReadingRule(BaseModel):
    """The rule a classifier carries, and what it did on the validation images that it was chosen on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_confidence: float = Field(ge=0, le=1, description="Answers below are flagged")
    images: int = Field(ge=1, description="Validation images of the source")
    wrong_images: int = Field(ge=0, description="Wrongly classified ones among them")
    flagged_share: float = Field(ge=0, le=1, description="Share flagged")
    caught_share: float | None = Field(
        ge=0, le=1, description="Share of the wrong ones flagged; none: none is wrong"
    )

    def verdict(self, confidence: float) -> str:
        """Says why a person should read a frame.

        Args:
            confidence: Largest calibrated probability, in [0, 1].

        Returns:
            The reason; empty where there is none.
        """
        if confidence < self.least_confidence:
            return f"unsure: probability {confidence:.3f} below {self.least_confidence:.3f}"
        return ""


def fit_class_reading(
    probabilities: np.ndarray, labels: np.ndarray, settings: ClassReadingSettings
) -> ClassReadingRule:
    """Takes the lowest bound that catches enough of the wrong answers, within the shares allowed.

    Args:
        probabilities: Calibrated, [N, classes], of validation images.
        labels: Class numbers [N].
        settings: How the bound is chosen.

    Returns:
        The rule with its figures on these images.

    Raises:
        CrossprobeError: No images.
    """
    if not len(labels):
        raise CrossprobeError("the reading rule needs validation images; the source's part `val` has none")
    sureness = np.asarray(probabilities, np.float64).max(1)
    wrong = np.asarray(probabilities).argmax(1) != np.asarray(labels)
    bound = lowest_bound(sureness, wrong, settings.catch_share, settings.least_flagged, settings.most_flagged)
    flagged = sureness < bound
    return ClassReadingRule(
        least_confidence=bound,
        images=len(wrong),
        wrong_images=int(wrong.sum()),
        flagged_share=float(flagged.mean()),
        caught_share=float(flagged[wrong].mean()) if wrong.any() else None,
    )
