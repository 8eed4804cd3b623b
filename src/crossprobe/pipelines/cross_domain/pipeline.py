"""The main job: every stage from raw data of two sites to the report and the registry."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from crossprobe.pipelines import (
    data_processing,
    evaluation,
    finetuning,
    fusion,
    pretraining,
    register,
    reporting,
)


def create_pipeline(study: str = "cross_domain") -> Pipeline:
    """Joins the stages of a study.

    Args:
        study: Table of arms to stamp from.

    Returns:
        The whole way through.
    """
    stages = (pretraining, finetuning, evaluation, fusion, reporting, register)
    return sum((stage.create_pipeline(study) for stage in stages), data_processing.create_pipeline())
