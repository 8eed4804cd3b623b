"""Pipeline breast."""

from crossprobe.pipelines.breast.pipeline import create_pipeline

__all__ = ["create_pipeline"]
