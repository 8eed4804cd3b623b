"""Pipeline ablations."""

from crossprobe.pipelines.ablations.pipeline import create_pipeline

__all__ = ["create_pipeline"]
