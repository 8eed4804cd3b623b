"""Frames to work on: as a store would serve them, and as the PNG files that the plain loop decodes."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from crossprobe.data.geometry import square, square_mask

NATIVE_PX = (480, 640)
FRAMES_A_VIDEO = 32


class BenchmarkFrames:
    """A few frames, each in three forms; asked for like a frame store.

    Attributes:
        size: Side of the square frames, px.
        manifest: Video and frame number of every row.
        png_images: PNG files of frames in native size, bytes.
        png_masks: PNG files of their masks.
    """

    def __init__(self, native: np.ndarray, masks: np.ndarray, size: int) -> None:
        self.size = size
        self._images = np.stack([square(frame, size) for frame in native])
        self._masks = np.stack([square_mask(mask, size) for mask in masks])
        rows = np.arange(len(native))
        self.manifest = pd.DataFrame(
            {"video": (rows // FRAMES_A_VIDEO).astype(str), "frame": 4 * (rows % FRAMES_A_VIDEO)}
        )
        self.png_images = _pngs(native)
        self.png_masks = _pngs(255 * masks)

    def __len__(self) -> int:
        """Counts the frames."""
        return len(self._images)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Gives frames, uint8 [n, S, S]."""
        return self._images[rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Gives masks, uint8 [n, S, S] of 0 and 1."""
        return self._masks[rows]


def load_frames(path: Path | None, count: int, size: int) -> BenchmarkFrames:
    """Makes frames, or takes them from a file.

    Args:
        path: `.npy` file of uint8 frames [N, H, W], such as `images.npy` of a video in a frame store; None
            makes speckle of 480x640 px.
        count: How many; those of a file are repeated where it has fewer.
        size: Side of the square frames, px.

    Returns:
        The frames, each with a disc for a mask.

    Raises:
        ValueError: If the file holds something else.
    """
    if path is None:
        native = _speckle(count)
    else:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.ndim != 3 or found.dtype != np.uint8 or not len(found):
            raise ValueError(f"{path}: expected uint8 frames [N, H, W], got {found.dtype} {found.shape}")
        native = np.asarray(found[np.arange(count) % len(found)])
    height, width = native.shape[1:]
    y, x = np.mgrid[:height, :width]
    disc = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 4) ** 2).astype(np.uint8)
    return BenchmarkFrames(native, np.repeat(disc[None], count, axis=0), size)


def _speckle(count: int) -> np.ndarray:
    """Frames [count, 480, 640] of smooth noise under a depth profile; a few different ones, repeated."""
    generator = np.random.default_rng(0)
    shade = np.linspace(1.2, 0.4, NATIVE_PX[0], dtype=np.float32)[:, None]
    different = []
    for _ in range(min(count, 16)):
        noise = cv2.GaussianBlur(generator.random(NATIVE_PX, dtype=np.float32), (0, 0), 1.5)
        different.append(np.clip((90 + 700 * (noise - 0.5)) * shade, 0, 255).astype(np.uint8))
    return np.stack([different[index % len(different)] for index in range(count)])


def _pngs(images: np.ndarray) -> list[bytes]:
    """PNG files of images, of which many are the same; encoding takes longer than comparing."""
    known: dict[bytes, bytes] = {}
    files = []
    for image in images:
        content = image.tobytes()
        if content not in known:
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG")
            known[content] = stream.getvalue()
        files.append(known[content])
    return files
