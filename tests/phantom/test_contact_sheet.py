from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.phantom.contact_sheet import contact_sheet, outlined
from crossprobe.phantom.settings import PhantomSettings


def test_sheet_has_a_row_a_view_and_two_columns_a_kind(tmp_path):
    settings = PhantomSettings.model_validate(
        {
            "frame_height_px": 160,
            "frame_width_px": 200,
            "source": {"frames_per_video": 2, "views": ("dorsal", "volar")},
        }
    )
    path = contact_sheet(settings, tmp_path / "new" / "sheet.png", ("source",), ("none", "gap"))
    sheet = cv2.imread(str(path))
    assert sheet.shape == (2 * 160, 4 * 200, 3)
    bare, marked = sheet[:140, :200].astype(int), sheet[:140, 200:400].astype(int)
    assert np.ptp(bare, axis=2).max() == 0
    assert np.ptp(marked, axis=2).max() > 50


def test_outline_runs_along_the_mask_and_spares_its_inside():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    picture = outlined(np.full((20, 20), 100, np.uint8), mask, np.zeros_like(mask))
    assert (picture[5, 5] != 100).any()
    assert (picture[10, 10] == 100).all()
    assert (picture[2, 2] == 100).all()


def test_an_unknown_suffix_is_an_error(tmp_path):
    site = {"frames_per_video": 2, "views": ("dorsal",), "videos_per_patient": (1, 1)}
    settings = PhantomSettings.model_validate({"source": site})
    with pytest.raises((OSError, cv2.error)):
        contact_sheet(settings, tmp_path / "sheet.nothing", ("source",), ("none",))
