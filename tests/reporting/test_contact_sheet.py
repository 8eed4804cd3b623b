from __future__ import annotations

import cv2
import numpy as np

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import build_frame_store
from crossprobe.data.sources.image_folder import ImageFolderSettings, read
from crossprobe.reporting.contact_sheet import contact_sheet


def test_a_site_without_masks_shows_its_frames(tmp_path):

    for number in range(6):
        file = tmp_path / "images" / ("benign", "malignant")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.random.default_rng(number).integers(40, 200, (60, 80), dtype=np.uint8))
    recordings, _ = read(ImageFolderSettings(folder=tmp_path / "images"), "source", "a salt for tests")
    path, _ = build_frame_store(recordings, FrameSettings(size=32), tmp_path / "store", "source", workers=1)
    store = FrameStore.open(path, labels=True)
    assert not store.manifest["labelled"].any()
    figure = contact_sheet(store, patients=4)
    assert len(figure.axes) == 4, "no row of outlines that nobody drew"
    assert {axes.get_title(loc="left").split("\n")[-1] for axes in figure.axes[:4]} == {"benign", "malignant"}
