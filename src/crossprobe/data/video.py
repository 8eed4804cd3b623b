"""Reads videos, DICOM and still images frame by frame, as grey 8-bit pixels, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# ffmpeg writes its complaints about broken files to the terminal; ours name the file and are the ones to
# read.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from crossprobe.data import dicom
from crossprobe.errors import UnreadableMedia

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mpeg", ".mpg", ".gif", ".m4v", ".mkv", ".wmv"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ""})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | DICOM_SUFFIXES - {""}
IMAGE_STARTS = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
}


def read_frames(path: Path | str, stride: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Streams the frames of a video, DICOM file or still image.

    Colour becomes luminance; 16-bit images are mapped to 8 bits (see `read_image`). One frame is held at a
    time. A file cut short gives the frames that decode and then ends: compare with `promised_frames`.

    Args:
        path: mp4, avi, mov, mpeg, gif, DICOM (by content), png, jpg, tif or bmp.
        stride: Give every n-th frame only; the others are skipped without colour conversion.

    Yields:
        The frame's number in the file, from 0, and its pixels: [H, W], uint8.

    Raises:
        UnreadableMedia: Names the file and why: missing, empty, an image under a video's name, or nothing
            decodes.
    """
    path = Path(path)
    kind = media_kind(path)
    if kind == "image":
        yield 0, read_image(path)
    elif kind == "dicom":
        yield from (item for item in dicom.read_frames(path) if item[0] % stride == 0)
    else:
        yield from _read_video(path, stride)


def media_kind(path: Path) -> str:
    """Decides by content and suffix how a file is read.

    Args:
        path: The file.

    Returns:
        `video`, `image` or `dicom`.

    Raises:
        UnreadableMedia: Missing, empty, an image in a video's place, or an unknown suffix.
    """
    if not path.is_file():
        raise UnreadableMedia(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path}: the file has zero bytes; copy it again from the scanner")
    suffix = path.suffix.lower()
    if dicom.is_dicom(path):
        return "dicom"
    if suffix in DICOM_SUFFIXES:
        raise UnreadableMedia(f"{path}: not a DICOM file (no DICM preamble)")
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix not in VIDEO_SUFFIXES:
        known = " ".join(sorted(MEDIA_SUFFIXES))
        raise UnreadableMedia(f"{path}: no reader for {suffix!r}; known are {known} and DICOM")
    with open(path, "rb") as stream:
        start = stream.read(4)
    for magic, name in IMAGE_STARTS.items():
        if start.startswith(magic):
            raise UnreadableMedia(
                f"{path}: a {name} image in a video's place; give it its own suffix or the clip"
            )
    return "video"


def promised_frames(path: Path | str) -> int | None:
    """Reads how many frames a file says it has.

    Args:
        path: As for `read_frames`.

    Returns:
        The header's count, or None where it gives none. MPEG program streams estimate it, so it may be off by
        1 %.
    """
    path = Path(path)
    kind = media_kind(path)
    if kind == "image":
        return 1
    if kind == "dicom":
        return dicom.promised_frames(path)
    capture = _open(path)
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    return count if count > 0 else None


def read_image(path: Path | str, binary: bool = False) -> np.ndarray:
    """Reads a still image as grey 8-bit pixels.

    Sixteen bits are divided by 257, whatever the values, so that one scanner's images all get one scale;
    transparency is ignored. A png or tif does not say that only its lower 12 bits are used: such an image
    comes out at a sixteenth of its brightness, so rescale it to 16 bits (times 16) before, or give the DICOM
    file.

    Args:
        path: png, jpg, tif or bmp.
        binary: Read a mask: 1 where any colour channel is above 0, so that a 16-bit label 1 is not rounded
            away.

    Returns:
        Shape [H, W], uint8.

    Raises:
        UnreadableMedia: The file is missing, empty, broken or larger than the memory.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        raise UnreadableMedia(f"{path}: missing or zero bytes")
    try:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise UnreadableMedia(
                f"{path}: not an image that can be decoded (truncated, or of another format)"
            )
        if binary:
            colours = image[:, :, :3] if image.ndim == 3 else image[:, :, None]
            return np.asarray((colours > 0).any(axis=2), dtype=np.uint8)
        return grey(image)
    except (cv2.error, MemoryError) as error:
        # OpenCV's own limit of pixels, or no memory for them.
        raise UnreadableMedia(f"{path}: cannot be read ({type(error).__name__})") from error


def grey(image: np.ndarray) -> np.ndarray:
    """Turns what OpenCV decoded into grey 8-bit pixels.

    Args:
        image: [H, W], [H, W, 3] (BGR) or [H, W, 4] (BGRA); uint8, uint16 or float in [0, 1].

    Returns:
        Shape [H, W], uint8.
    """
    if image.dtype == np.uint16:
        image = image / 257.0
    elif image.dtype != np.uint8:
        image = np.nan_to_num(image.astype(np.float64)) * 255
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if image.ndim == 2:
        return np.asarray(image)
    if image.shape[2] == 1:
        return np.asarray(image[:, :, 0])
    code = cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def _open(path: Path) -> cv2.VideoCapture:
    # One decoder thread a file: frames are built by one process a recording, and more threads only fight.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        capture.release()
        raise UnreadableMedia(f"{path}: not a video that can be opened (truncated, or of another format)")
    return capture


def _read_video(path: Path, stride: int) -> Iterator[tuple[int, np.ndarray]]:
    capture = _open(path)
    index = 0
    decoded = 0
    try:
        while capture.grab():
            if index % stride == 0:
                decodes, image = capture.retrieve()
                if decodes and image is not None and image.size:
                    decoded += 1
                    yield index, grey(image)
            index += 1
    finally:
        capture.release()
    if decoded == 0:
        raise UnreadableMedia(f"{path}: a video with no frame that can be decoded")
