"""Finds and reads the masks of a recording: a folder of `<frame:06d>.png`, or one PNG for an image.

Some sets give an image several masks, one a lesion. They are named by one path with a `*` in its file name,
and read as their union: nothing is written into a folder of raw data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from crossprobe.data.media_limits import MediaLimits, check_limits
from crossprobe.data.video import read_image
from crossprobe.errors import UnreadableMedia

USUAL = MediaLimits()


def mask_files(masks: str | None) -> tuple[dict[int, Path], list[str]]:
    """Lists the masks of a recording by frame number.

    Args:
        masks: A folder, one PNG (frame 0), several (frame 0) named with a `*`, or None.

    Returns:
        Files by frame number, and the names of files that are no mask.
    """
    if masks is None:
        return {}, []
    path = Path(masks)
    if path.is_file() or mask_pieces(path):
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


def mask_pieces(mask: Path) -> list[Path]:
    """Lists the files that make one mask.

    Args:
        mask: A file, or several named with one `*` in the file name, such as `benign (4)_mask*.png`.

    Returns:
        The file itself, or the sorted files that the name fits; empty where there is none.
    """
    start, star, end = mask.name.partition("*")
    if not star or mask.is_file() or not mask.parent.is_dir():
        return [mask] if mask.is_file() else []
    # By hand, since brackets in a file name would mean something to a glob.
    return sorted(
        file
        for file in mask.parent.iterdir()
        if file.name.startswith(start) and file.name.endswith(end) and len(file.name) >= len(start + end)
    )


def read_pieces(mask: Path) -> np.ndarray:
    """Reads a mask, or the union of the files that make it.

    Args:
        mask: As for `mask_pieces`.

    Returns:
        Shape [H, W], uint8 of 0 and 1.

    Raises:
        UnreadableMedia: Missing, broken, or pieces of different sizes.
    """
    pieces = mask_pieces(mask)
    whole = read_image(pieces[0] if pieces else mask, binary=True)
    for piece in pieces[1:]:
        part = read_image(piece, binary=True)
        if part.shape != whole.shape:
            raise UnreadableMedia(
                f"{mask}: {piece.name} is {part.shape[1]}x{part.shape[0]} px, the mask before it "
                f"{whole.shape[1]}x{whole.shape[0]} px"
            )
        whole |= part
    return whole


def mask_hash(mask: np.ndarray) -> str:
    """Hashes a mask, so that one that was edited later is noticed.

    Args:
        mask: [H, W], uint8 of 0 and 1, cropped like its frame.

    Returns:
        8 hex digits of SHA-256.
    """
    return hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()[:8]


def read_mask(file: Path, shape: tuple[int, int], limits: MediaLimits = USUAL) -> np.ndarray:
    """Reads a mask that must have its frame's size; foreground is any value above 0.

    Args:
        file: The PNG: 8 or 16 bits, grey or colour, binary or not; or several, named with a `*`.
        shape: Height and width of the whole native frame, px.
        limits: The largest file that is taken.

    Returns:
        Shape [H, W], uint8 of 0 and 1.

    Raises:
        UnreadableMedia: Broken, too large, or of another size.
    """
    for piece in mask_pieces(file):
        check_limits(piece, limits, undecided=True)
    mask = read_pieces(file)
    if mask.shape != shape:
        raise UnreadableMedia(
            f"{file}: mask is {mask.shape[1]}x{mask.shape[0]} px, its frame {shape[1]}x{shape[0]} px; "
            "export masks at the clip's own size"
        )
    return mask
