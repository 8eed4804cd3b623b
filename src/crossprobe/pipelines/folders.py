"""Where the stages put what is too large for the catalog."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Folders(BaseModel):
    """Roots of content-addressed folders; everything below them can be deleted and is made again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Path = Field(description="Frame stores, one folder a fingerprint")
    progress: Path = Field(description="Training runs in progress, one folder a fingerprint")
    results: Path = Field(description="Tables that evaluation made before, one file a fingerprint")
