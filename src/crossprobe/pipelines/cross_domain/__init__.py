"""Pipeline cross_domain."""

from crossprobe.pipelines.cross_domain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
