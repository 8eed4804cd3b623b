"""Breast lesions across scanners, with adversarial adaptation, and inside one scanner (S0)."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import classification, data_processing, register


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        The data of three sites, the study across scanners and the one inside the source, and what becomes of
        the registered arm.
    """
    # All three: an arm that learns from two labelled sites must not meet test patients of any of them.
    data = data_processing.create_pipeline(("source", "target", "second_source"))
    studies = (classification.create_pipeline(study) for study in ("breast", "breast_in_domain"))
    return sum(studies, data) + register.create_classifier_pipeline("breast")
