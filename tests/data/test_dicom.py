from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from crossprobe.data import dicom
from crossprobe.data.video import promised_frames, read_frames
from crossprobe.errors import UnreadableMedia


@pytest.fixture
def frames(make_speckle):
    return make_speckle(4, 40, 50)


def stack(path):
    return np.stack([frame for _, frame in read_frames(path)])


def compress(path):
    data = dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)


def test_a_clip_comes_back_exactly(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "clip.dcm", frames)
    assert np.array_equal(stack(path), frames)
    assert promised_frames(path) == 4


def test_the_name_does_not_matter(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "IM_0001", frames)
    assert np.array_equal(stack(path), frames)


def test_a_single_frame_without_a_count(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "still.dcm", frames[:1], NumberOfFrames=None)
    assert np.array_equal(stack(path), frames[:1])
    assert promised_frames(path) == 1


def test_monochrome1_is_inverted(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "clip.dcm", frames, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(stack(path), 255 - frames)


def test_sixteen_bits_use_the_stored_range(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "clip.dcm", frames.astype(np.uint16) * 257)
    assert np.array_equal(stack(path), frames)


def test_twelve_bits_use_the_stored_range(tmp_path, save_dicom):
    ramp = np.linspace(0, 4095, 64).astype(np.uint16).reshape(1, 8, 8)
    path = save_dicom(tmp_path / "clip.dcm", ramp, BitsStored=12, HighBit=11)
    assert np.abs(stack(path) - ramp / 4095 * 255).max() <= 0.5


def test_few_bits_in_eight_use_the_stored_range(tmp_path, save_dicom):
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    path = save_dicom(tmp_path / "clip.dcm", ramp, BitsStored=6, HighBit=5)
    assert np.abs(stack(path) - ramp / 63 * 255).max() <= 0.5


def test_the_range_of_a_frame_does_not_change_its_scale(tmp_path, save_dicom):
    low = np.full((1, 8, 8), 1000, np.uint16)
    high = low.copy()
    high[0, 0, 0] = 4095
    tags = {"BitsStored": 12, "HighBit": 11}
    first, second = (stack(save_dicom(tmp_path / f"{i}.dcm", f, **tags)) for i, f in enumerate((low, high)))
    assert first[0, 4, 4] == second[0, 4, 4] == 62


def test_deep_colour_uses_the_stored_range(tmp_path, save_dicom):
    colour = np.full((1, 8, 8, 3), 4095, np.uint16)
    colour[0, 4:] = 1024
    path = save_dicom(tmp_path / "clip.dcm", colour, BitsStored=12, HighBit=11)
    assert np.array_equal(np.unique(stack(path)), [64, 255])


def test_a_window_is_obeyed(tmp_path, save_dicom):
    ramp = np.arange(64, dtype=np.uint16).reshape(1, 8, 8) * 100
    path = save_dicom(tmp_path / "clip.dcm", ramp, WindowCenter=2000, WindowWidth=1000)
    values = stack(path)[0].ravel()
    assert (values[:15] == 0).all()
    assert (values[26:] == 255).all()
    assert abs(int(values[20]) - 128) <= 2


def test_colour_becomes_luminance(tmp_path, save_dicom):
    colour = np.zeros((2, 8, 8, 3), np.uint8)
    colour[..., 1] = 200
    path = save_dicom(tmp_path / "clip.dcm", colour)
    assert np.abs(stack(path).astype(int) - round(0.587 * 200)).max() <= 1


def test_ybr_becomes_luminance(tmp_path, save_dicom):
    colour = np.full((2, 8, 8, 3), 128, np.uint8)
    colour[..., 0] = 90
    path = save_dicom(tmp_path / "clip.dcm", colour, PhotometricInterpretation="YBR_FULL")
    assert np.abs(stack(path).astype(int) - 90).max() <= 1


def test_no_pixels_is_said(tmp_path, frames, save_dicom):
    path = save_dicom(tmp_path / "report.dcm", frames, PixelData=None)
    with pytest.raises(UnreadableMedia, match=r"report\.dcm: a DICOM file without pixels"):
        list(read_frames(path))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_clip_cut_short_gives_the_frames_that_decode(tmp_path, frames, save_dicom, compressed):
    path = save_dicom(tmp_path / "cut.dcm", frames)
    if compressed:
        compress(path)
    path.write_bytes(path.read_bytes()[:-3000])
    assert np.array_equal(stack(path), frames[:2])
    assert promised_frames(path) == 4


@pytest.mark.parametrize("compressed", [False, True])
def test_no_whole_frame_is_said_without_quoting_tags(tmp_path, frames, save_dicom, compressed):
    path = save_dicom(tmp_path / "cut.dcm", frames)
    if compressed:
        compress(path)
    path.write_bytes(path.read_bytes()[:-7700])
    with pytest.raises(UnreadableMedia, match=r"cut\.dcm: DICOM pixels cannot be decoded \(\w+\)$") as caught:
        list(read_frames(path))
    assert "SECRET" not in str(caught.value)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("failure", [OSError, MemoryError])
def test_a_failing_disk_does_not_pass_for_the_end_of_a_clip(
    tmp_path, frames, save_dicom, monkeypatch, failure
):
    def fail(path):
        yield frames[0]
        raise failure

    monkeypatch.setattr(dicom, "iter_pixels", fail)
    with pytest.raises(UnreadableMedia, match=failure.__name__):
        stack(save_dicom(tmp_path / "clip.dcm", frames))


def test_a_file_without_preamble_is_no_dicom(tmp_path):
    (tmp_path / "odd.dcm").write_bytes(b"x" * 500)
    with pytest.raises(UnreadableMedia, match=r"odd\.dcm: not a DICOM file"):
        list(read_frames(tmp_path / "odd.dcm"))


def region(x: float, y: float, units: int = 3) -> Dataset:
    data = Dataset()
    data.PhysicalUnitsXDirection = data.PhysicalUnitsYDirection = units
    data.PhysicalDeltaX, data.PhysicalDeltaY = x, y
    return data


def test_spacing_of_the_ultrasound_region_is_in_centimetres(tmp_path, frames, save_dicom):
    regions = Sequence([region(0.5, 0.5, units=4), region(0.012, 0.012)])
    path = save_dicom(tmp_path / "clip.dcm", frames, SequenceOfUltrasoundRegions=regions, PixelSpacing=[9, 9])
    assert dicom.spacing_mm(path) == pytest.approx(0.12)


def test_spacing_of_the_pixels(tmp_path, frames, save_dicom):
    assert dicom.spacing_mm(save_dicom(tmp_path / "a.dcm", frames, PixelSpacing=[0.2, 0.2])) == pytest.approx(
        0.2
    )


@pytest.mark.parametrize("tags", [{}, {"PixelSpacing": [0.2, 0.3]}, {"PixelSpacing": [0, 0]}])
def test_spacing_that_one_figure_cannot_tell_is_unknown(tmp_path, frames, save_dicom, tags):
    assert dicom.spacing_mm(save_dicom(tmp_path / "a.dcm", frames, **tags)) is None
