"""Breast lesions across scanners, with adversarial adaptation, and inside one scanner (S0)."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import classification, data_processing
from crossprobe.pipelines.data_processing.pipeline import site_pipeline


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        The data of three sites, the study across scanners and the one inside the source.
    """
    data = data_processing.create_pipeline() + site_pipeline("second_source")
    studies = (classification.create_pipeline(study) for study in ("breast", "breast_in_domain"))
    return sum(studies, data)
