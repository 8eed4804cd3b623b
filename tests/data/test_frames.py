from __future__ import annotations

import numpy as np

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import FrameSettings, build_frame_store
from crossprobe.data.geometry import square_mask

SMALL = FrameSettings(size=32, workers=1)


def test_a_site_becomes_a_store(wrist, tmp_path):
    wrist.video("a.avi", "Anna", count=5, labelled=[0, 3])
    wrist.video("b.mp4", "Berta", count=4, seed=1)
    wrist.video("c.dcm", "Berta", count=3, seed=2)
    recordings, _ = wrist.read()
    path, rejections = build_frame_store(recordings, SMALL, tmp_path / "store", "source")
    assert rejections.empty
    store = FrameStore.open(path, labels=True)
    assert len(store) == 12
    rows = np.flatnonzero(store.manifest["labelled"])
    assert len(rows) == 2
    for row in rows:
        assert np.array_equal(store.masks(np.array([row]))[0], square_mask(store.native_mask(row), 32))
    assert store.manifest[["video", "frame"]].equals(
        store.manifest[["video", "frame"]].sort_values(["video", "frame"]).reset_index(drop=True)
    )
