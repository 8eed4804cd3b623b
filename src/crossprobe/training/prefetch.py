"""The next batch on its way to the device while the present one is computed.

Which rows come next is known, since samplers are functions of the step. One thread gathers them from the
memory-mapped store into pinned memory and copies them on a stream of their own: one batch is computed, one is
under way, never more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

Gather = Callable[[np.ndarray], np.ndarray]


class Prefetcher:
    """Fetches arrays one request ahead.

    Args:
        gather: Reads rows; called from one other thread.
        device: Where they are wanted.
    """

    def __init__(self, gather: Gather, device: torch.device) -> None:
        self._gather, self._device = gather, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="frames")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._waiting: tuple[bytes, Future[Tensor]] | None = None

    def request(self, rows: np.ndarray) -> None:
        """Begins to fetch rows; an earlier request that nobody took is forgotten.

        Args:
            rows: int64 [B].
        """
        self._waiting = (rows.tobytes(), self._thread.submit(self._fetch, rows))

    def take(self, rows: np.ndarray) -> Tensor:
        """Gives rows, at once if they were the last that were requested.

        Args:
            rows: int64 [B].

        Returns:
            What `gather` gives, as a tensor on the device.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting[0] == rows.tobytes():
            fetched = waiting[1].result()
        else:
            fetched = self._fetch(rows)
        if self._stream is not None:
            present = torch.cuda.current_stream(self._device)
            present.wait_stream(self._stream)
            # Else the allocator could hand the memory out again while this stream still reads it.
            fetched.record_stream(present)
        return fetched

    def _fetch(self, rows: np.ndarray) -> Tensor:
        array = torch.from_numpy(self._gather(rows))
        if self._stream is None:
            return array
        with torch.cuda.stream(self._stream):
            return array.pin_memory().to(self._device, non_blocking=True)
