"""The pipelines a user can name after `kedro run --pipeline`."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Collects the pipelines below `crossprobe.pipelines`, or those of them that were asked for.

    Returns:
        One pipeline a folder; `__default__` is the main job.
    """
    pipelines = find_pipelines(raise_errors=True)
    if "cross_domain" in pipelines:
        pipelines["__default__"] = pipelines["cross_domain"]
    return pipelines
