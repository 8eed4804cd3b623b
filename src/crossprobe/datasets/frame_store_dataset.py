"""A frame store in the catalog: a small pointer file; the pixels stay in their content-addressed folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from crossprobe.data.frame_store import FrameStore


class FrameStoreDataset(AbstractDataset["FrameStore", "FrameStore"]):
    """Remembers which frame store a stage made and opens it lazily.

    Args:
        filepath: JSON file that points at the store.
        labels: Whether readers of this entry may see masks. The unlabelled training data of the target is
            an entry without labels, so code that receives it cannot read one even by mistake.
        metadata: Ignored by Kedro; read by kedro-viz and by the experiment hooks.
    """

    def __init__(self, *, filepath: str, labels: bool, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._labels = labels
        self.metadata = metadata

    def load(self) -> FrameStore:
        """Opens the store; no pixel is read yet."""
        from crossprobe.data.frame_store import FrameStore

        pointer = json.loads(self._filepath.read_text(encoding="utf-8"))
        return FrameStore.open(self._filepath.parent / pointer["folder"], labels=self._labels)

    def save(self, data: FrameStore) -> None:
        """Points at a finished store.

        Args:
            data: The store, already on disk.

        Raises:
            DatasetError: If the store carries no labels but this entry promises them.
        """
        if self._labels and not data.labels:
            raise DatasetError(f"{self._filepath.name} promises labels, the store {data.path} came without")
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(data.path).resolve()
        pointer = {
            "folder": os.path.relpath(folder, self._filepath.parent.resolve()),
            "fingerprint": data.fingerprint,
            "frames": len(data),
        }
        self._filepath.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "labels": self._labels}
