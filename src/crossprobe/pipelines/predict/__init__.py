"""Pipeline predict."""

from crossprobe.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
