"""Pipeline source_site."""

from crossprobe.pipelines.source_site.pipeline import create_pipeline

__all__ = ["create_pipeline"]
