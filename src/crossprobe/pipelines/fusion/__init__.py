"""Pipeline fusion."""

from crossprobe.pipelines.fusion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
