"""Pipeline seeds."""

from crossprobe.pipelines.seeds.pipeline import create_pipeline

__all__ = ["create_pipeline"]
