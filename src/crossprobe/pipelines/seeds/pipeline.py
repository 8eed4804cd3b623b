"""The main job with every arm trained several times: the method's part, and that of luck."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import cross_domain


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        Every stage for the arms of the study `seeds`; the first training of each is that of the main job.
    """
    return cross_domain.create_pipeline("seeds")
