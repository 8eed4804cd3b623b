"""Pictures inside a request: PNG bytes as base64 text, in and out, with limits."""

from __future__ import annotations

import base64
import binascii
import struct

import cv2
import numpy as np

from crossprobe.data.media_limits import MediaLimits
from crossprobe.data.video import grey
from crossprobe.errors import UnreadableMedia

PNG_START = b"\x89PNG\r\n\x1a\n"
REQUEST_LIMITS = MediaLimits(file_mb=32, frames=512)


def decode_picture(text: str, limits: MediaLimits = REQUEST_LIMITS) -> np.ndarray:
    """Reads a picture out of a request.

    Args:
        text: Base64 of a PNG file. A path is not taken: a server must not read its own disk for a stranger.
        limits: The largest that is taken.

    Returns:
        Grey, uint8 [H, W], as a file of the same bytes gives it.

    Raises:
        UnreadableMedia: No base64, no PNG, or too large.
    """
    if not isinstance(text, str) or len(text) > limits.file_mb * 2**20 * 4 / 3:
        raise UnreadableMedia(f"image: base64 text of a PNG of at most {limits.file_mb} MiB is expected")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableMedia("image: not base64; send the bytes of a PNG file as base64 text") from None
    if not content.startswith(PNG_START) or len(content) < 33:
        raise UnreadableMedia("image: base64, but not of a PNG file")
    width, height = struct.unpack(">II", content[16:24])
    if width * height > limits.frame_pixels:
        raise UnreadableMedia(
            f"image: promises {width}x{height} px, more than the {limits.frame_pixels} pixels that are taken"
        )
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UnreadableMedia("image: a PNG file that cannot be decoded (truncated?)")
    return grey(image)


def encode_picture(image: np.ndarray) -> str:
    """Writes a picture for a response.

    Args:
        image: uint8 [H, W].

    Returns:
        Base64 of a PNG file.
    """
    return base64.b64encode(png_bytes(image)).decode("ascii")


def png_bytes(image: np.ndarray) -> bytes:
    """Compresses a picture without loss.

    Args:
        image: uint8 [H, W] or [H, W, 3] (BGR).

    Returns:
        A PNG file.
    """
    done, content = cv2.imencode(".png", image)
    assert done, "cv2 writes any uint8 picture as PNG"
    return content.tobytes()


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """Shows a mask as a picture: 0 and 255, so that a person sees it too."""
    return (mask * np.uint8(255)).astype(np.uint8)


def confidence_picture(confidence: np.ndarray) -> np.ndarray:
    """Shows confidence in [0, 1] as grey levels 0 to 255."""
    return np.rint(np.clip(confidence, 0.0, 1.0) * 255).astype(np.uint8)
