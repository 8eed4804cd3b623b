"""Refuses files that are too large to be what they say, before a decoder takes them at their word.

A picture of a few kilobytes can promise gigapixels, and a deflated DICOM file can hold gigabytes of zeros.
What a file promises is read from its header; no pixel is decoded here.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data import dicom
from crossprobe.data.video import media_kind
from crossprobe.errors import UnreadableMedia

DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.8.1")


class MediaLimits(BaseModel):
    """The largest file that is taken; no scanner makes larger ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file_mb: int = Field(4096, gt=0, description="Size of a file, MiB")
    frame_pixels: int = Field(16_777_216, gt=0, description="Height times width of a frame")
    frames: int = Field(100_000, gt=0, description="Frames of one file")


class UnreadableHeader(UnreadableMedia):
    """Pillow does not know this kind of image, or it is broken."""


def check_limits(path: Path, limits: MediaLimits, undecided: bool = False) -> str:
    """Checks what a file promises in its header.

    Args:
        path: The file.
        limits: The largest that is taken.
        undecided: Let an image pass whose header Pillow does not understand: OpenCV reads more kinds, such as
            TIFF of 16 bits a colour, and has a limit of its own.

    Returns:
        `video`, `image` or `dicom`.

    Raises:
        UnreadableMedia: The file is too large, promises too much, is missing, empty, or of no known kind.
    """
    kind = media_kind(path)
    megabytes = path.stat().st_size / 2**20
    if megabytes > limits.file_mb:
        raise UnreadableMedia(
            f"{path}: {megabytes:.0f} MiB, more than the {limits.file_mb} MiB that are taken"
        )
    read = {"image": _image_size, "dicom": _dicom_size, "video": _video_size}[kind]
    try:
        height, width, frames = read(path)
    except UnreadableHeader:
        if undecided:
            return kind
        raise
    if height * width > limits.frame_pixels:
        raise UnreadableMedia(
            f"{path}: promises frames of {width}x{height} px, more than the {limits.frame_pixels} pixels "
            "that are taken; export it smaller, or raise limits.frame_pixels"
        )
    if frames > limits.frames:
        raise UnreadableMedia(
            f"{path}: promises {frames} frames, more than the {limits.frames} that are taken; "
            "cut it, or raise limits.frames"
        )
    return kind


def _image_size(path: Path) -> tuple[int, int, int]:
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures by a limit of its own; ours is the one to read.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise UnreadableMedia(f"{path}: promises far more pixels than any scanner's image has") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableHeader(f"{path}: not an image that can be opened ({type(error).__name__})") from None
    return height, width, 1


def _video_size(path: Path) -> tuple[int, int, int]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise UnreadableMedia(f"{path}: not a video that can be opened (truncated, or of another format)")
        wanted = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_COUNT)
        height, width, frames = (int(max(0.0, capture.get(figure))) for figure in wanted)
    finally:
        capture.release()
    return height, width, frames


def _dicom_size(path: Path) -> tuple[int, int, int]:
    import pydicom

    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        if syntax in DEFLATED:
            # Opening it would inflate all of it at once, however large.
            raise UnreadableMedia(f"{path}: a deflated DICOM file; export it uncompressed, as JPEG or as RLE")
        tags = ["Rows", "Columns", "NumberOfFrames"]
        header = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=True, defer_size="64 KB")
        return int(header.get("Rows") or 0), int(header.get("Columns") or 0), dicom.promised_frames(path)
    except UnreadableMedia:
        raise
    except Exception as error:
        # The text of the reader's error may quote tags, so only its kind is passed on.
        raise UnreadableMedia(f"{path}: a broken DICOM file ({type(error).__name__})") from None
