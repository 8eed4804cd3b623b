"""Writes an .npy file frame by frame when nobody knows yet how many frames there will be."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

# An .npy header padded to a fixed length, so that the true count can be written over the first guess.
HEADER_BYTES = 128


class FrameArrayWriter:
    """Appends uint8 frames of one size to an .npy file and fills in their number at the end.

    Args:
        path: The file to write.
        size: Side of a frame, px.

    Attributes:
        count: Frames written so far.
    """

    def __init__(self, path: Path, size: int):
        self.count = 0
        self._size = size
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by the with block around us
        self._stream.write(self._header())

    def append(self, frame: np.ndarray) -> None:
        """Writes one frame.

        Args:
            frame: Shape [S, S], uint8.

        Raises:
            ValueError: Another shape or type.
            OSError: The disk is full.
        """
        if frame.shape != (self._size, self._size) or frame.dtype != np.uint8:
            raise ValueError(f"expected uint8 [{self._size}, {self._size}], got {frame.dtype} {frame.shape}")
        self._stream.write(np.ascontiguousarray(frame).data)
        self.count += 1

    def append_zeros(self) -> None:
        """Adds a frame of zeros as a hole in the file: unlabelled frames take no room on disk."""
        self._stream.seek(self._size * self._size, 1)
        self.count += 1

    def close(self) -> None:
        """Sets the file's length and writes the true number of frames into its header."""
        if self._stream.closed:
            return
        try:
            self._stream.truncate(HEADER_BYTES + self.count * self._size * self._size)
            self._stream.seek(0)
            self._stream.write(self._header())
        finally:
            self._stream.close()

    def __enter__(self) -> Self:
        """Gives the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file; an error on the way is not hidden by a second one from closing."""
        if error is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        try:
            self._stream.close()
        except OSError:
            # Flushing the rest of a failed write fails again; the first error is the one to show.
            return

    def _header(self) -> bytes:
        shape = f"({self.count}, {self._size}, {self._size})"
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
        start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
        return start + text.ljust(HEADER_BYTES - 11).encode("ascii") + b"\n"
