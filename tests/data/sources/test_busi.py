from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import FrameSettings, build_frame_store
from crossprobe.data.sources.busi import BusiSettings, read
from crossprobe.data.sources.class_folders import find_images
from crossprobe.errors import StoreError

SALT = "a salt for tests"


@pytest.fixture
def published(tmp_path, make_speckle):
    """Three images a class as the set has them; `benign (1)` has two masks."""
    root = tmp_path / "Dataset_BUSI_with_GT"
    for place, label in enumerate(("benign", "malignant", "normal")):
        (root / label).mkdir(parents=True)
        for number in range(1, 4):
            image = make_speckle(1, 96, 120, 10 * place + number)[0]
            mask = np.zeros((96, 120), np.uint8)
            if label != "normal":
                mask[20:40, 30:60] = 255
            cv2.imwrite(str(root / label / f"{label} ({number}).png"), image)
            cv2.imwrite(str(root / label / f"{label} ({number})_mask.png"), mask)
    second = np.zeros((96, 120), np.uint8)
    second[60:70, 80:100] = 255
    cv2.imwrite(str(root / "benign" / "benign (1)_mask_1.png"), second)
    return tmp_path


def test_the_published_layout(published):
    recordings, rejections = read(BusiSettings(folder=published), "source", SALT)
    assert rejections.empty
    assert recordings["class"].value_counts().to_dict() == {"benign": 3, "malignant": 3, "normal": 3}
    assert recordings["patient"].nunique() == 9
    assert recordings["masks"].notna().all()
    inner, _ = read(BusiSettings(folder=published / "Dataset_BUSI_with_GT"), "source", SALT)
    assert recordings.equals(inner)


def test_some_classes(published):
    settings = BusiSettings(folder=published, classes=("benign", "malignant"))
    recordings, _ = read(settings, "source", SALT)
    assert set(recordings["class"]) == {"benign", "malignant"}


def test_a_missing_mask_is_noted(published):
    (published / "Dataset_BUSI_with_GT" / "normal" / "normal (2)_mask.png").unlink()
    recordings, rejections = read(BusiSettings(folder=published), "source", SALT)
    assert len(recordings) == 9
    assert rejections["item"].tolist() == ["normal/normal (2).png"]


def test_masks_are_joined_in_the_frame_store_and_guarded(published, tmp_path):
    recordings, _ = read(BusiSettings(folder=published), "source", SALT)
    path, rejections = build_frame_store(
        recordings, FrameSettings(size=96), tmp_path / "store", "source", workers=1
    )
    assert rejections.empty
    store = FrameStore.open(path, labels=True)
    row = int(np.flatnonzero(store.manifest["path"].str.contains(r"benign \(1\)"))[0])
    native = store.native_mask(row)
    assert native.sum() == 20 * 30 + 10 * 20
    assert store.masks(np.array([row])).any()
    normal = int(np.flatnonzero(store.manifest["class"] == "normal")[0])
    assert not store.native_mask(normal).any(), "an empty mask says that there is nothing to find"
    piece = published / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask_1.png"
    piece.unlink()
    with pytest.raises(StoreError, match="changed since the frames stage"):
        store.native_mask(row)
    again, _ = build_frame_store(recordings, FrameSettings(size=96), tmp_path / "store", "source", workers=1)
    assert again != path, "another set of masks is another store"


@pytest.mark.data
def test_the_published_counts(real_data):
    root = real_data("busi") / "Dataset_BUSI_with_GT"
    images, faults = find_images(root, ())
    assert faults == []
    counts = {
        label: sum(image.label == label for image in images) for label in ("benign", "malignant", "normal")
    }
    assert counts == {"benign": 437, "malignant": 210, "normal": 133}
    assert all(image.masks is not None for image in images)
    assert sum("*" in image.masks.name for image in images) == 17


@pytest.mark.data
def test_known_copies_of_the_published_set_are_grouped(real_data, tmp_path):
    """A subset with pairs found by eye, so that the test takes seconds."""
    root = real_data("busi") / "Dataset_BUSI_with_GT"
    for label, numbers in {
        "benign": (6, 323, 205, 262, 7, 8, 9, 10, 11, 12),
        "malignant": (14, 114, 123, 51, 1, 2, 3),
    }.items():
        (tmp_path / label).mkdir()
        for number in numbers:
            name = f"{label} ({number}).png"
            shutil.copy(root / label / name, tmp_path / label)
    for number in (42, 131):
        shutil.copy(root / "benign" / f"benign ({number}).png", tmp_path / "benign")
    recordings, rejections = read(BusiSettings(folder=tmp_path), "source", SALT)
    stem = recordings["path"].str.extract(r"(\w+ \(\d+\))")[0]
    patient = dict(zip(stem, recordings["patient"], strict=True))
    assert patient["benign (6)"] == patient["benign (323)"]
    assert patient["benign (205)"] == patient["benign (262)"]
    assert len({patient[f"malignant ({number})"] for number in (14, 114, 123)}) == 1
    conflicts = rejections[rejections["reason"].str.startswith("near-identical")]
    assert sorted(conflicts["item"].str.extract(r"/(\w+ \(\d+\))")[0]) == [
        "benign (131)", "benign (42)", "malignant (51)",
    ]  # fmt: skip
