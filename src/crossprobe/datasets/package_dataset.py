"""A model package in the catalog: a small pointer file beside content-addressed folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

if TYPE_CHECKING:
    from crossprobe.prediction.package import Package


class PackageDataset(AbstractDataset["Package", "Package"]):
    """Saves and loads a `Package`; every package is kept, and the pointer names the newest.

    Args:
        filepath: JSON file that points at the package.
        metadata: Ignored by Kedro; read by kedro-viz and by the experiment hooks.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Package:
        """Reads the package and verifies every file of it."""
        from crossprobe.prediction.package import Package

        pointer = json.loads(self._filepath.read_text(encoding="utf-8"))
        return Package.load(self._filepath.parent / pointer["folder"], pointer["sha256"])

    def save(self, data: Package) -> None:
        """Writes the package into a folder of its own and points at it.

        Args:
            data: What to keep.
        """
        from crossprobe.prediction.package import index_hash

        folder = data.save(self._filepath.parent / data.index.fingerprint()[:16])
        pointer = {"folder": folder.name, "sha256": index_hash(folder)}
        temporary = self._filepath.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
