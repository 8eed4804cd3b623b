from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.mask_files import mask_files, mask_pieces, read_mask
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


def test_pieces_of_one_mask_are_joined_whatever_is_in_their_name(tmp_path):
    for place, name in enumerate(("a [1]_mask", "a [1]_mask_1", "a [10]_mask")):
        mask = np.zeros((6, 8), np.uint8)
        mask[place] = 255
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
    whole = tmp_path / "a [1]_mask*.png"
    assert mask_files(str(whole)) == ({0: whole}, [])
    assert [file.name for file in mask_pieces(whole)] == ["a [1]_mask.png", "a [1]_mask_1.png"]
    assert read_mask(whole, (6, 8)).any(axis=1).tolist() == [True, True, False, False, False, False]


def test_pieces_of_two_sizes_are_named(tmp_path):
    for side, name in ((8, "m.png"), (9, "m_1.png")):
        cv2.imwrite(str(tmp_path / name), np.zeros((6, side), np.uint8))
    with pytest.raises(UnreadableMedia, match=r"m_1\.png is 9x6 px, the mask before it 8x6 px"):
        read_mask(tmp_path / "m*.png", (6, 8))


def test_a_name_that_fits_nothing_is_no_mask(tmp_path):
    assert mask_files(str(tmp_path / "m*.png")) == ({}, [])
    with pytest.raises(UnreadableMedia, match="missing or zero bytes"):
        read_mask(tmp_path / "m*.png", (6, 8))
