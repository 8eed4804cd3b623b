"""Bombs are refused by what their headers promise, before a decoder sees them."""

from __future__ import annotations

import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from crossprobe.data.media_limits import DEFLATED, MediaLimits, check_limits
from crossprobe.errors import UnreadableMedia
from small_model import write_clip

SMALL = MediaLimits(file_mb=1, frame_pixels=10_000, frames=3)


def dicom_file(path, rows=40, columns=50, frames=1, syntax=ExplicitVRLittleEndian):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3"
    dataset.PatientName = "Mustermann^Erika"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(100)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_files_of_usual_size_pass(tmp_path):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(tmp_path / "a.png")
    assert check_limits(tmp_path / "a.png", SMALL) == "image"
    assert check_limits(dicom_file(tmp_path / "b.dcm"), SMALL) == "dicom"
    assert check_limits(write_clip(tmp_path / "c.avi"), MediaLimits()) == "video"


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "jpg"])
def test_an_image_that_promises_too_much(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(path)
    with pytest.raises(UnreadableMedia, match=r"a\.\w+: promises frames of 200x200 px, more than the 10000"):
        check_limits(path, SMALL)


def test_a_gigapixel_png_of_a_few_kilobytes(tmp_path):
    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunks = b""
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")):
        chunks += len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(UnreadableMedia, match="promises"):
        check_limits(tmp_path / "bomb.png", MediaLimits())


def test_a_video_of_too_many_or_too_large_frames(tmp_path):
    path = write_clip(tmp_path / "c.avi", frames=6)
    with pytest.raises(UnreadableMedia, match="promises 6 frames, more than the 3"):
        check_limits(path, MediaLimits(frames=3))
    with pytest.raises(UnreadableMedia, match="160x120"):
        check_limits(path, MediaLimits(frame_pixels=100))


def test_a_dicom_header_that_promises_too_much(tmp_path):
    with pytest.raises(UnreadableMedia, match="60000x50000"):
        check_limits(dicom_file(tmp_path / "a.dcm", 50_000, 60_000), MediaLimits())
    with pytest.raises(UnreadableMedia, match="promises 900000 frames"):
        check_limits(dicom_file(tmp_path / "b.dcm", frames=900_000), MediaLimits())


@pytest.mark.parametrize("syntax", DEFLATED[:1])
def test_a_deflated_dicom_file_is_not_inflated(tmp_path, syntax):
    path = dicom_file(tmp_path / "a.dcm", syntax=syntax)
    with pytest.raises(UnreadableMedia, match="deflated") as caught:
        check_limits(path, MediaLimits())
    assert "Mustermann" not in str(caught.value)


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "a.mp4"
    with open(path, "wb") as stream:
        stream.truncate(2 * 2**20)
    with pytest.raises(UnreadableMedia, match="2 MiB, more than the 1 MiB"):
        check_limits(path, SMALL)


@pytest.mark.parametrize("name", ["a.png", "b.mp4", "c.dcm"])
def test_zero_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableMedia, match="zero bytes"):
        check_limits(tmp_path / name, SMALL)
