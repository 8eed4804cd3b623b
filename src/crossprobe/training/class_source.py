"""Images with their classes, from one site or from several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossprobe.errors import InvalidMetadata
from crossprobe.training.frame_source import FrameSource

UNKNOWN = "unknown"


class LabelledImages:
    """Frames of one or several stores, one after the other, each with the number of its class.

    Args:
        sources: Frames of each store.
        classes: Names of the classes; a class's number is its place.

    Raises:
        InvalidMetadata: A frame is of none of the classes.
    """

    def __init__(self, sources: Sequence[FrameSource], classes: Sequence[str]) -> None:
        self.sources, self.class_names = list(sources), tuple(classes)
        self._starts = np.cumsum([0, *(len(source) for source in sources)])
        numbers = [class_numbers(source.store.manifest.iloc[source.rows], classes) for source in sources]
        self.classes = torch.from_numpy(np.concatenate(numbers))

    def __len__(self) -> int:
        """Counts the frames."""
        return int(self._starts[-1])

    def images(self, positions: Tensor) -> Tensor:
        """Gives images float32 [B, 1, S, S] in [0, 1] of positions int64 [B], on the device."""
        if len(self.sources) == 1:
            return self.sources[0].images(positions)
        which = self._source_of(positions)
        parts, order = [], []
        for number, source in enumerate(self.sources):
            inside = torch.nonzero(which == number).squeeze(1)
            if len(inside):
                parts.append(source.images(positions[inside] - int(self._starts[number])))
                order.append(inside)
        return torch.cat(parts)[torch.argsort(torch.cat(order)).to(parts[0].device)]

    def names(self, positions: Tensor) -> list[str]:
        """Names frames of positions int64 [B] by video and number."""
        which = self._source_of(positions).tolist()
        return [
            self.sources[number].names((position - int(self._starts[number])).view(1))[0]
            for position, number in zip(positions, which, strict=True)
        ]

    def _source_of(self, positions: Tensor) -> Tensor:
        """Number of the source, int64 [B], that holds each position."""
        return torch.from_numpy(np.searchsorted(self._starts[1:], positions.numpy(), side="right"))

    def labels(self, positions: Tensor) -> Tensor:
        """Gives class numbers int64 [B] of positions int64 [B], on the device."""
        return self.classes[positions].to(self.sources[0].device)

    def counts(self) -> np.ndarray:
        """Counts the frames of each class, int64 [classes]."""
        return np.bincount(self.classes.numpy(), minlength=len(self.class_names))


def class_numbers(manifest: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Numbers the classes of a manifest's rows.

    Args:
        manifest: With the column `class`.
        classes: Names, in the order of the outputs.

    Returns:
        int64 [rows].

    Raises:
        InvalidMetadata: A row is of none of the classes.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    found = manifest["class"].map(numbers)
    if found.isna().any():
        strange = sorted(set(manifest["class"][found.isna()]))
        raise InvalidMetadata(f"images of class {strange} were given to a classifier of {list(classes)}")
    return found.to_numpy(np.int64)


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Weights classes by how rare they are, so that each counts the same in the loss.

    Args:
        counts: Training images of each class, [classes].

    Returns:
        total / (classes * count), float32 [classes].

    Raises:
        InvalidMetadata: A class has no image.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if (counts <= 0).any():
        raise InvalidMetadata(f"every class needs a training image, the counts are {counts.astype(int)}")
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)
