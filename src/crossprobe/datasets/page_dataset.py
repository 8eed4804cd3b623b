"""A report page in the catalog: every version is kept, and the newest also lies where people look for it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version


class PageDataset(AbstractVersionedDataset[str, str]):
    """Saves and loads a self-contained HTML page.

    With versions, version `v` of `folder/report.html` is `folder/versions/v/report.html`, and
    `folder/report.html` is a copy of the newest.

    Args:
        filepath: The page.
        version: Set by Kedro for entries marked `versioned: true`.
        metadata: Ignored by Kedro; read by kedro-viz and by the experiment hooks.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        page = PurePosixPath(filepath)
        self._page = Path(filepath)
        super().__init__(page.parent / "versions" if version else page, version)
        self.metadata = metadata

    def load(self) -> str:
        """Reads the page."""
        return Path(self._get_load_path()).read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Writes the version and then the copy people open, each in one step.

        Args:
            data: HTML.
        """
        for path in dict.fromkeys((Path(self._get_save_path()), self._page)):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(data, encoding="utf-8")
            temporary.replace(path)

    def _get_versioned_path(self, version: str) -> PurePosixPath:
        return super()._get_versioned_path(version).with_name(self._page.name)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).exists()
        except DatasetError:  # no version has been saved yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._page), "version": self._version}
