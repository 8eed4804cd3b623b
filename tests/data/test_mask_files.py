from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.mask_files import mask_files, read_mask
from crossprobe.errors import UnreadableMedia


def test_a_folder_gives_masks_by_frame_and_names_strangers(tmp_path):
    for name in ("000003.png", "000010.png", "notes.txt", "overlay.png", ".hidden", "3.png"):
        (tmp_path / name).touch()
    files, strangers = mask_files(str(tmp_path))
    assert {index: file.name for index, file in files.items()} == {3: "000003.png", 10: "000010.png"}
    assert strangers == ["3.png", "notes.txt", "overlay.png"]


def test_one_file_is_the_mask_of_frame_zero(tmp_path):
    (tmp_path / "mask.png").touch()
    assert mask_files(str(tmp_path / "mask.png")) == ({0: tmp_path / "mask.png"}, [])


def test_no_masks(tmp_path):
    assert mask_files(None) == ({}, [])
    assert mask_files(str(tmp_path / "gone")) == ({}, [])


@pytest.mark.parametrize("value", [1, 4, 255])
def test_any_value_above_zero_is_foreground(tmp_path, value):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4] = value
    cv2.imwrite(str(tmp_path / "0.png"), mask)
    assert np.array_equal(read_mask(tmp_path / "0.png", (6, 8)), (mask > 0).astype(np.uint8))


def test_another_size_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "000002.png"), np.zeros((6, 8), np.uint8))
    with pytest.raises(UnreadableMedia, match=r"000002\.png: mask is 8x6 px, its frame 6x8 px"):
        read_mask(tmp_path / "000002.png", (8, 6))
