"""The target's first half: what it hands over."""

from __future__ import annotations

from typing import Any

from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.exchange import ExchangeSettings


def publish_encoders(
    settings: ExchangeSettings,
    split: dict[str, Any],
    facts: dict[str, Any],
    *encoders: Checkpoint,
    names: tuple[str, ...],
) -> dict[str, Any]:
    """Hands over the encoders with hashes of the data they saw, and marks for the check of patients."""
    from crossprobe.pipelines.exchange import patients_note, publish

    note = {
        "site": "target",
        **patients_note("target", facts["data"], (p for part in split["parts"].values() for p in part)),
        "split_hash": split["hash"],
        "manifest_hash": facts["manifest_hash"],
    }
    return publish(settings, "encoders", dict(zip(names, encoders, strict=True)), note)
