"""How two devices differ, without labels."""

from crossprobe.pipelines.domain_difference.pipeline import create_pipeline

__all__ = ["create_pipeline"]
