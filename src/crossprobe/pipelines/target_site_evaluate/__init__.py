"""Pipeline target_site_evaluate."""

from crossprobe.pipelines.target_site_evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
