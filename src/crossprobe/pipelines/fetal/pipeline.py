"""The small network of the fetal study and its tried variations on the source's images (S1)."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import classification, register
from crossprobe.pipelines.data_processing.pipeline import site_pipeline


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        The source's data, the study, and what becomes of the registered arm.
    """
    study = classification.create_pipeline("fetal")
    return site_pipeline("source") + study + register.create_classifier_pipeline("fetal")
