"""Pictures in requests: what goes in comes out, and nothing but a PNG of fair size goes in."""

from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np
import pytest

from crossprobe.data.media_limits import MediaLimits
from crossprobe.data.video import read_image
from crossprobe.errors import UnreadableMedia
from crossprobe.prediction.picture import confidence_picture, decode_picture, encode_picture, mask_picture


def test_a_picture_survives_the_way():
    image = np.random.default_rng(0).integers(0, 256, (37, 53), dtype=np.uint8)
    assert np.array_equal(decode_picture(encode_picture(image)), image)


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_is_read_as_its_file_is(tmp_path, shape, dtype):
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    text = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    assert np.array_equal(decode_picture(text), read_image(tmp_path / "a.png"))


def bomb(width: int, height: int) -> str:
    """A PNG of a few bytes that promises a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return base64.b64encode(content).decode()


def test_a_bomb_is_refused_by_its_header():
    with pytest.raises(UnreadableMedia, match="60000x60000"):
        decode_picture(bomb(60000, 60000))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/etc/passwd", "not base64|not of a PNG"),
        ("file:///etc/passwd", "not base64"),
        (base64.b64encode(b"GIF89a and more").decode(), "not of a PNG"),
        (bomb(10, 10), "cannot be decoded"),
        ("ä", "not base64"),
        (None, "base64 text"),
    ],
)
def test_what_is_no_picture(text, words):
    with pytest.raises(UnreadableMedia, match=words):
        decode_picture(text)


def test_a_request_that_is_too_long():
    with pytest.raises(UnreadableMedia, match="at most 1 MiB"):
        decode_picture("A" * (3 * 2**20), MediaLimits(file_mb=1))


def test_masks_and_confidence_as_grey_levels():
    assert mask_picture(np.array([[0, 1]], np.uint8)).tolist() == [[0, 255]]
    assert confidence_picture(np.array([[0.0, 0.5, 1.0]], np.float32)).tolist() == [[0, 128, 255]]
