from __future__ import annotations

import cv2
import numpy as np
import pydicom
import pytest

from crossprobe.phantom.display import Screen
from crossprobe.phantom.recording import PATIENT_NAME, write_dicom, write_mask, write_video

SCREEN = Screen(frame_height=64, frame_width=80, top=6, left=10, height=50, width=60, spacing_mm=0.125)


@pytest.fixture
def frames():
    smooth = np.linspace(0, 200, 80)[None, None, :] + np.linspace(0, 40, 5)[:, None, None]
    return np.broadcast_to(smooth, (5, 64, 80)).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_opencv_reads_back_every_frame(tmp_path, frames, suffix):
    path = tmp_path / f"video.{suffix}"
    write_video(path, frames, 16.0)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(16.0)
    read = []
    while (answer := capture.read())[0]:
        read.append(answer[1][..., 0])
    assert len(read) == 5
    # The encoders squeeze grey into video range, which costs a few levels.
    assert np.abs(np.stack(read).astype(int) - frames).mean() < 7


def test_dicom_holds_pixels_geometry_and_a_name_to_drop(tmp_path, frames):
    path = tmp_path / "video.dcm"
    write_dicom(path, frames, SCREEN, "micrus_like", 16.0)
    data = pydicom.dcmread(path)
    assert np.array_equal(data.pixel_array, frames)
    assert data.Modality == "US"
    assert [float(value) for value in data.PixelSpacing] == [0.125, 0.125]
    region = data.SequenceOfUltrasoundRegions[0]
    assert region.PhysicalDeltaX * 10 == pytest.approx(0.125)
    assert (region.RegionLocationMinX0, region.RegionLocationMaxY1) == (10, 55)
    assert str(data.PatientName) == PATIENT_NAME


def test_dicom_bytes_are_deterministic(tmp_path, frames):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "video.dcm", frames, SCREEN, "probe", 16.0)
    assert (tmp_path / "a/video.dcm").read_bytes() == (tmp_path / "b/video.dcm").read_bytes()


def test_masks_are_lossless(tmp_path):
    mask = (np.random.default_rng(0).random((64, 80)) > 0.5).astype(np.uint8)
    write_mask(tmp_path / "000001.png", mask)
    read = cv2.imread(str(tmp_path / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, mask * 255)


def test_a_mask_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(OSError, match="does its folder exist"):
        write_mask(tmp_path / "nowhere" / "000001.png", np.zeros((4, 4)))
