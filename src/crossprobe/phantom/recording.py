"""Writes what a clinic hands over: real video files, multi-frame DICOM, and masks as lossless PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from crossprobe.errors import UnreadableMedia
from crossprobe.phantom.display import Screen

CODECS = {"mp4": "mp4v", "avi": "MJPG"}
PATIENT_NAME = "Doe^Phantom"


def write_video(path: Path, frames: np.ndarray, frames_per_s: float) -> None:
    """Writes an mp4 (mp4v) or avi (Motion JPEG) file.

    Args:
        path: Its suffix chooses the container.
        frames: uint8 [N, H, W].
        frames_per_s: Frame rate.

    Raises:
        UnreadableMedia: This build of OpenCV has no encoder for the container.
    """
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix[1:]])
    height, width = frames.shape[1:]
    writer = cv2.VideoWriter(str(path), codec, frames_per_s, (width, height), True)
    if not writer.isOpened():
        raise UnreadableMedia(f"{path}: OpenCV cannot encode {path.suffix}; choose another `container`")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()


def write_dicom(path: Path, frames: np.ndarray, screen: Screen, device: str, frames_per_s: float) -> None:
    """Writes an ultrasound multi-frame DICOM file, with an invented name that a reader must not pass on.

    Args:
        path: Where.
        frames: uint8 [N, H, W].
        screen: Where the ultrasound area lies, and the side of its pixels.
        device: Manufacturer's model name.
        frames_per_s: Frame rate.
    """
    uid = generate_uid(entropy_srcs=[path.stem, device])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = uid
    data.StudyInstanceUID = generate_uid(entropy_srcs=[path.stem, device, "study"])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[path.stem, device, "series"])
    data.Modality = "US"
    data.PatientName = PATIENT_NAME
    data.PatientID = f"hospital-{path.stem}"
    data.PatientBirthDate = "20150101"
    data.StudyDate = data.SeriesDate = data.ContentDate = "20260101"
    data.StudyTime = data.ContentTime = "120000"
    data.Manufacturer = "crossprobe phantom"
    data.ManufacturerModelName = device
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape
    data.FrameTime = round(1000.0 / frames_per_s, 3)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelSpacing = [round(screen.spacing_mm, 6)] * 2
    data.SequenceOfUltrasoundRegions = Sequence([_region(screen)])
    data.PixelData = np.ascontiguousarray(frames).tobytes() + b"\0" * (frames.size % 2)
    data["PixelData"].VR = "OB"
    data.save_as(path, enforce_file_format=True)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Writes a mask as PNG with values 0 and 255.

    Args:
        path: Where; its folder must exist.
        mask: 0/1 [H, W].

    Raises:
        OSError: The file could not be written.
    """
    if not cv2.imwrite(str(path), mask.astype(np.uint8) * 255):
        raise OSError(f"{path}: could not write the mask; does its folder exist?")


def _region(screen: Screen) -> Dataset:
    """The calibrated 2-D tissue region; its physical deltas are in cm, as the standard has it."""
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.RegionDataType = 1
    region.RegionFlags = 0
    region.RegionLocationMinX0 = screen.left
    region.RegionLocationMinY0 = screen.top
    region.RegionLocationMaxX1 = screen.left + screen.width - 1
    region.RegionLocationMaxY1 = screen.top + screen.height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = screen.spacing_mm / 10
    return region
