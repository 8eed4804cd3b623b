"""The pipelines a user can name after `kedro run --pipeline`."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

CROSS_DOMAIN = ("data_processing", "pretraining", "finetuning", "evaluation", "fusion", "reporting")


def register_pipelines() -> dict[str, Pipeline]:
    """Collects the pipelines of every stage and joins them into the main job.

    Returns:
        One pipeline a stage, `cross_domain` that runs them all, and `__default__`, the same.
    """
    pipelines = find_pipelines(raise_errors=True)
    pipelines["cross_domain"] = sum((pipelines[name] for name in CROSS_DOMAIN), Pipeline([]))
    pipelines["__default__"] = pipelines["cross_domain"]
    return pipelines
