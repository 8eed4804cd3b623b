"""A matplotlib figure in the catalog: saved as PNG, loaded as bytes, previewed in kedro-viz."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureDataset(AbstractDataset["Figure", bytes]):
    """Saves a figure, gives back its picture.

    Args:
        filepath: PNG file.
        dpi: Pixels an inch.
        metadata: Ignored by Kedro; read by kedro-viz and by the experiment hooks.
    """

    def __init__(self, *, filepath: str, dpi: int = 144, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._dpi = dpi
        self.metadata = metadata

    def load(self) -> bytes:
        """Reads the PNG file."""
        return self._filepath.read_bytes()

    def save(self, data: Figure) -> None:
        """Draws the figure into the file, in one step, and lets go of it.

        Args:
            data: The figure.
        """
        import matplotlib.pyplot as plt

        from crossprobe.reporting.style import png_bytes

        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._filepath.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(png_bytes(data, self._dpi))
        temporary.replace(self._filepath)
        plt.close(data)

    def preview(self) -> ImagePreview:
        """Gives kedro-viz the picture."""
        return ImagePreview(base64.b64encode(self.load()).decode("ascii"))

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "dpi": self._dpi}
