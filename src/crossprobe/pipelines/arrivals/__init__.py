"""Pipeline arrivals."""

from crossprobe.pipelines.arrivals.pipeline import create_pipeline

__all__ = ["create_pipeline"]
