"""Pipeline target_site."""

from crossprobe.pipelines.target_site.pipeline import create_pipeline

__all__ = ["create_pipeline"]
