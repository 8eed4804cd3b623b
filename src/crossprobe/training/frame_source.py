"""Frames as tensors where the model is: all in device memory if they fit, else fetched one batch ahead."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np
import torch
from torch import Tensor

from crossprobe.data.frame_store import FrameStore
from crossprobe.training.prefetch import Prefetcher

MEMORY_SHARE = 0.3
COPIED_AT_ONCE = 256


def resident(
    read: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, size: int, device: torch.device
) -> Tensor:
    """Puts frames on a device a few at a time, so that the host never holds them all.

    Args:
        read: Gives frames uint8 [n, S, S] of rows.
        rows: int64 [N].
        size: Side of a frame, px.
        device: Where they go.

    Returns:
        uint8 [N, S, S] on the device.
    """
    frames = torch.empty((len(rows), size, size), dtype=torch.uint8, device=device)
    for start in range(0, len(rows), COPIED_AT_ONCE):
        part = slice(start, start + COPIED_AT_ONCE)
        frames[part] = torch.from_numpy(read(rows[part])).to(device)
    return frames


class FrameSource:
    """Some rows of a frame store, served as batches without worker processes.

    On a CUDA device with room to spare the frames are copied there once, as bytes; without, batches are
    gathered ahead of time and copied beside the computation. On a CPU they stay in the memory-mapped store,
    which the operating system caches.

    Args:
        store: The frames.
        rows: int64 [N], rows of the store that make up this source, in the order positions refer to.
        device: Where batches are wanted.
        labels: Whether masks are served too.
    """

    def __init__(self, store: FrameStore, rows: np.ndarray, device: torch.device, labels: bool) -> None:
        self.store, self.rows, self.device, self.labels = store, np.asarray(rows, np.int64), device, labels
        self._images: Tensor | None = None
        self._masks: Tensor | None = None
        self._ahead: dict[str, Prefetcher] = {}
        if device.type != "cuda":
            return
        if self._bytes() < MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._images = resident(store.images, self.rows, store.size, device)
            self._masks = resident(store.masks, self.rows, store.size, device) if labels else None
        else:
            # A copy of the store each: open files are not for two threads.
            self._ahead["images"] = Prefetcher(copy(store).images, device)
            if labels:
                self._ahead["masks"] = Prefetcher(copy(store).masks, device)

    def __len__(self) -> int:
        """Counts the frames."""
        return len(self.rows)

    def images(self, positions: Tensor) -> Tensor:
        """Gives images.

        Args:
            positions: int64 [B], positions in `rows`.

        Returns:
            float32 [B, 1, S, S] in [0, 1], on the device.
        """
        if self._images is not None:
            batch = self._images[positions.to(self.device)]
        else:
            batch = self._gathered("images", positions)
        return batch.unsqueeze(1).float().div_(255)

    def masks(self, positions: Tensor) -> Tensor:
        """Gives masks.

        Args:
            positions: int64 [B], positions in `rows`.

        Returns:
            float32 [B, 1, S, S] of 0 and 1, on the device.

        Raises:
            LabelsNotAllowed: If the store was opened without labels.
        """
        if self._masks is not None:
            batch = self._masks[positions.to(self.device)]
        else:
            batch = self._gathered("masks", positions)
        return batch.unsqueeze(1).float()

    def prefetch(self, positions: Tensor, mask_positions: Tensor | None = None) -> None:
        """Says which batch will be asked for next; needed only for speed.

        Args:
            positions: int64 [B], positions in `rows`.
            mask_positions: int64 [B], those of the masks where they differ.
        """
        for name, ahead in self._ahead.items():
            wanted = mask_positions if name == "masks" and mask_positions is not None else positions
            ahead.request(self.rows[wanted.cpu().numpy()])

    def names(self, positions: Tensor) -> list[str]:
        """Names frames for an error or a log.

        Args:
            positions: int64 [B], positions in `rows`.

        Returns:
            Video and number of each frame.
        """
        frames = self.store.manifest.iloc[self.rows[positions.cpu().numpy()]]
        return [f"{video}/{frame}" for video, frame in zip(frames["video"], frames["frame"], strict=True)]

    def _gathered(self, name: str, positions: Tensor) -> Tensor:
        rows = self.rows[positions.cpu().numpy()]
        if name in self._ahead:
            return self._ahead[name].take(rows)
        return torch.from_numpy(self.store.masks(rows) if name == "masks" else self.store.images(rows))

    def _bytes(self) -> int:
        return len(self.rows) * self.store.size**2 * (2 if self.labels else 1)
