"""Finds and reads the masks of a recording: a folder of `<frame:06d>.png`, or one PNG for an image."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from crossprobe.data.video import read_image
from crossprobe.errors import UnreadableMedia


def mask_files(masks: str | None) -> tuple[dict[int, Path], list[str]]:
    """Lists the masks of a recording by frame number.

    Args:
        masks: A folder, one PNG (frame 0), or None.

    Returns:
        Files by frame number, and the names of files that are no mask.
    """
    if masks is None:
        return {}, []
    path = Path(masks)
    if path.is_file():
        return {0: path}, []
    files: dict[int, Path] = {}
    strangers: list[str] = []
    for file in sorted(path.iterdir()) if path.is_dir() else []:
        if file.name.startswith("."):
            continue
        if file.suffix.lower() == ".png" and file.stem.isdecimal() and int(file.stem) not in files:
            files[int(file.stem)] = file
        else:
            strangers.append(file.name)
    return files, strangers


def mask_hash(mask: np.ndarray) -> str:
    """Hashes a mask, so that one that was edited later is noticed.

    Args:
        mask: [H, W], uint8 of 0 and 1, cropped like its frame.

    Returns:
        8 hex digits of SHA-256.
    """
    return hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()[:8]


def read_mask(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads a mask that must have its frame's size; foreground is any value above 0.

    Args:
        file: The PNG: 8 or 16 bits, grey or colour, binary or not.
        shape: Height and width of the whole native frame, px.

    Returns:
        Shape [H, W], uint8 of 0 and 1.

    Raises:
        UnreadableMedia: Broken, or of another size.
    """
    mask = read_image(file, binary=True)
    if mask.shape != shape:
        raise UnreadableMedia(
            f"{file}: mask is {mask.shape[1]}x{mask.shape[0]} px, its frame {shape[1]}x{shape[0]} px; "
            "export masks at the clip's own size"
        )
    return mask
