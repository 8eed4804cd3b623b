"""Weights in the catalog: safetensors and JSON, one folder a version, never a pickle."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version

if TYPE_CHECKING:
    from crossprobe.models.checkpoint import Checkpoint


class CheckpointDataset(AbstractVersionedDataset["Checkpoint", "Checkpoint"]):
    """Saves and loads a `Checkpoint`.

    Args:
        filepath: Folder of the checkpoint; with versions, the folder that holds them.
        version: Set by Kedro for entries marked `versioned: true`.
        metadata: Ignored by Kedro; read by kedro-viz and by the experiment hooks.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(PurePosixPath(filepath), version)
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """Reads weights, configuration and provenance."""
        from crossprobe.models.checkpoint import Checkpoint

        return Checkpoint.load(Path(self._get_load_path()))

    def save(self, data: Checkpoint) -> None:
        """Writes a checkpoint into its own folder.

        Args:
            data: What to keep.
        """
        data.save(Path(self._get_save_path()))

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).exists()
        except DatasetError:  # no version has been saved yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
