"""Pipeline fetal."""

from crossprobe.pipelines.fetal.pipeline import create_pipeline

__all__ = ["create_pipeline"]
