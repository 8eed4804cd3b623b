"""Pipeline register."""

from crossprobe.pipelines.register.classifier import create_classifier_pipeline
from crossprobe.pipelines.register.pipeline import create_pipeline

__all__ = ["create_classifier_pipeline", "create_pipeline"]
