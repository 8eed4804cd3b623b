"""The ablations of the paper (S3-14): the same stages, stamped from another table of arms."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import cross_domain


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        Every stage for the arms of the study `ablations`; arms of the main job are the same nodes.
    """
    return cross_domain.create_pipeline("ablations")
