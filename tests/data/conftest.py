"""Small made-up sites: clips that move like speckle, in every container, and the wrist layout around them."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.data.sources.wrist import WristSettings, read

SALT = "a salt for tests"
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".mpeg": "mp1v"}
COLUMNS = ["file", "patient", "operator", "device", "view", "spacing_mm", "class"]


def speckle(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Frames [count, H, W] of smooth noise that differs from frame to frame; bright all over."""
    generator = np.random.default_rng(seed)
    noise = generator.random((count, height, width), dtype=np.float32)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in noise])
    return np.clip(90 + 700 * (smooth - 0.5), 20, 235).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, height, width = frames.shape
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
    writer = cv2.VideoWriter(str(path), codec, 25.0, (width, height), isColor=True)
    assert writer.isOpened(), path
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def write_hollow_png(path: Path, side: int) -> Path:
    """A few kilobytes that promise a grey picture of side x side."""
    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunks = b""
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")):
        chunks += len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def write_dicom(path: Path, frames: np.ndarray, **tags: object) -> Path:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.PatientName = "Doe^Jane"
    data.PatientID = "SECRET-4711"
    data.InstitutionName = "Hospital of Nowhere"
    bits = 8 * frames.dtype.itemsize
    colour = frames.ndim == 4
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    data.NumberOfFrames = len(frames)
    data.Rows, data.Columns = frames.shape[1:3]
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = 0
    data.PixelData = frames.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


class WristFolder:
    """A wrist site on disk that a test fills row by row."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows: list[dict[str, object]] = []
        (folder / "videos").mkdir(parents=True)

    def row(self, file: str, patient: str, **cells: object) -> None:
        blank = {"operator": "Dr Operator", "device": "Lumify", "view": "dorsal", "spacing_mm": 0.1}
        self.rows.append({"file": file, "patient": patient, **blank, "class": "fracture", **cells})

    def video(
        self,
        file: str,
        patient: str,
        count: int = 6,
        labelled: Sequence[int] = (),
        seed: int = 0,
        **cells: object,
    ) -> np.ndarray:
        frames = speckle(count, 64, 80, seed)
        path = self.folder / "videos" / file
        if path.suffix == ".dcm":
            write_dicom(path, frames)
        else:
            write_video(path, frames)
        for index in labelled:
            mask = np.zeros((64, 80), np.uint8)
            mask[20:30, 10 : 40 + index] = 255
            self.mask(Path(file).stem, index, mask)
        self.row(file, patient, **cells)
        return frames

    def mask(self, stem: str, index: int, mask: np.ndarray) -> None:
        folder = self.folder / "masks" / stem
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{index:06d}.png"), mask)

    def write_table(self, columns: Sequence[str] = COLUMNS) -> None:
        with open(self.folder / "metadata.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)

    def read(self, site: str = "source") -> tuple[pd.DataFrame, pd.DataFrame]:
        self.write_table()
        return read(WristSettings(folder=self.folder), site, SALT)


@pytest.fixture
def wrist(tmp_path: Path) -> WristFolder:
    """An empty wrist site."""
    return WristFolder(tmp_path / "site")


@pytest.fixture
def make_speckle() -> Callable[..., np.ndarray]:
    return speckle


@pytest.fixture
def save_video() -> Callable[[Path, np.ndarray], Path]:
    return write_video


@pytest.fixture
def save_dicom() -> Callable[..., Path]:
    return write_dicom


@pytest.fixture
def hollow_png() -> Callable[[Path, int], Path]:
    return write_hollow_png
