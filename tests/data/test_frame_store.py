from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.data.array_file import FrameArrayWriter
from crossprobe.data.frame_store import FORMAT, OPEN_VIDEOS, FrameStore
from crossprobe.errors import LabelsNotAllowed, StoreError


def write_store(
    folder: Path, videos: list[tuple[str, list[bool]]], size: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Writes a store by hand, without the code that builds one; gives its images and masks in row order."""
    generator = np.random.default_rng(seed)
    rows, images, masks = [], [], []
    for index, (patient, labelled) in enumerate(videos):
        name = f"v_{index:04d}"
        (folder / "videos" / name).mkdir(parents=True)
        with (
            FrameArrayWriter(folder / "videos" / name / "images.npy", size) as image_file,
            FrameArrayWriter(folder / "videos" / name / "masks.npy", size) as mask_file,
        ):
            for frame, has_label in enumerate(labelled):
                image = generator.integers(0, 256, (size, size), dtype=np.uint8)
                mask = generator.integers(0, 2, (size, size), dtype=np.uint8) * has_label
                image_file.append(image)
                mask_file.append(mask)
                images.append(image)
                masks.append(mask)
                rows.append({
                    "site": "s", "device": "d", "operator": "o", "patient": patient, "view": "v",
                    "video": name, "path": "x", "spacing_mm": None, "class": "c", "frame": frame,
                    "height": size, "width": size, "crop_top": 0, "crop_left": 0,
                    "mask_path": "m.png" if has_label else None, "truth_path": None,
                    "labelled": has_label, "content": f"{index}_{frame}",
                })  # fmt: skip
    pd.DataFrame(rows).astype({"spacing_mm": float}).to_parquet(folder / "manifest.parquet")
    description = {"format": FORMAT, "size": size, "fingerprint": "f" * 64, "rows": len(rows)}
    (folder / "store.json").write_text(json.dumps(description))
    return np.stack(images), np.stack(masks)


@pytest.fixture
def store(tmp_path):
    write_store(tmp_path, [("p_a", [True, False]), ("p_b", [True]), ("p_a", [False, False])])
    return FrameStore.open(tmp_path, labels=True)


videos = st.lists(
    st.tuples(st.sampled_from(["p_a", "p_b", "p_c"]), st.lists(st.booleans(), min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(videos, st.integers(1, 20), st.data())
def test_any_rows_in_any_order_come_back(layout, size, data):
    with tempfile.TemporaryDirectory() as folder:
        images, masks = write_store(Path(folder), layout, size)
        store = FrameStore.open(Path(folder), labels=True)
        assert len(store) == len(images)
        rows = np.array(data.draw(st.lists(st.integers(0, len(images) - 1), max_size=12)), dtype=np.int64)
        assert np.array_equal(store.images(rows), images[rows])
        labelled = rows[store.manifest["labelled"].to_numpy()[rows]]
        assert np.array_equal(store.masks(labelled), masks[labelled])


def test_statistics_are_those_of_numpy(tmp_path):
    images, _ = write_store(tmp_path, [("p", [False] * 30)] * 12, size=16)
    store = FrameStore.open(tmp_path, labels=False)
    rows = np.arange(0, 360, 1)
    mean, deviation = store.statistics(rows)
    assert mean == pytest.approx((images[rows] / 255).mean(), abs=1e-12)
    assert deviation == pytest.approx((images[rows] / 255).std(), abs=1e-12)
    with pytest.raises(StoreError, match="no rows"):
        store.statistics(np.array([], dtype=int))


def test_rows_of_patients_and_labels(store):
    assert store.rows(["p_a"]).tolist() == [0, 1, 3, 4]
    assert store.rows(["p_a", "p_b"], labelled=True).tolist() == [0, 2]
    assert store.rows(["p_a"], labelled=False).tolist() == [1, 3, 4]
    assert store.rows([]).tolist() == []
    with pytest.raises(StoreError, match=r"no frame of patients \['p_x'\]"):
        store.rows(["p_x"])


def test_without_the_right_to_labels_nothing_of_them_can_be_had(store):
    blind = FrameStore.open(store.path, labels=False)
    assert not {"mask_path", "truth_path"} & set(blind.manifest.columns)
    for call in (
        lambda: blind.masks(np.array([0])),
        lambda: blind.native_mask(0),
        lambda: blind.native_truth(0),
    ):
        with pytest.raises(LabelsNotAllowed, match="opened with labels=False"):
            call()
    assert np.array_equal(blind.images(np.arange(5)), store.images(np.arange(5)))


def test_a_class_is_a_label_and_a_path_may_tell_it(store):
    blind = FrameStore.open(store.path, labels=False)
    assert set(blind.manifest["class"]) == {"unknown"}
    assert set(blind.manifest["path"]) == {"hidden"}
    hidden = {"class", "path", "mask_path", "truth_path"}
    shown = [name for name in store.manifest.columns if name not in hidden]
    assert blind.manifest[shown].equals(store.manifest[shown])
    assert set(store.manifest["class"]) == {"c"}


def test_an_unlabelled_rows_zeros_never_pass_for_a_mask(store):
    with pytest.raises(StoreError, match=r"row 1 \(video v_0000, frame 1\) has no label"):
        store.masks(np.array([0, 1]))
    with pytest.raises(StoreError, match="has no mask_path"):
        store.native_mask(1)
    with pytest.raises(StoreError, match="has no truth_path"):
        store.native_truth(0)


@pytest.mark.parametrize("rows", [[-1], [5], [0, 99]])
def test_rows_that_are_not_there_are_refused(store, rows):
    with pytest.raises(IndexError, match=r"rows must lie in 0\.\.4"):
        store.images(np.array(rows))


@pytest.mark.parametrize("content", ["", "[1]", '{"format": "other"}', "{"])
def test_another_description_is_refused(store, content):
    (store.path / "store.json").write_text(content)
    with pytest.raises(StoreError, match=r"store\.json: not"):
        FrameStore.open(store.path, labels=True)


def test_a_manifest_of_another_length_is_refused(store):
    store.manifest.iloc[:3].to_parquet(store.path / "manifest.parquet")
    with pytest.raises(StoreError, match=r"manifest has 3 rows, store\.json says 5"):
        FrameStore.open(store.path, labels=True)


def test_a_missing_array_is_named(store):
    (store.path / "videos" / "v_0001" / "images.npy").unlink()
    with pytest.raises(StoreError, match=r"v_0001/images\.npy: cannot be read"):
        store.images(np.array([2]))


def test_a_mask_file_changed_in_size_is_named(store, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "m.png"), np.ones((3, 3), np.uint8))
    store.manifest["mask_path"] = str(tmp_path / "m.png")
    with pytest.raises(StoreError, match=r"m\.png: .* was the file changed"):
        store.native_mask(0)


def test_few_files_stay_open(tmp_path):
    images, _ = write_store(tmp_path, [("p", [False])] * (OPEN_VIDEOS + 30), size=4)
    store = FrameStore.open(tmp_path, labels=False)
    assert np.array_equal(store.images(np.arange(len(images))), images)
    assert len(store._arrays) == OPEN_VIDEOS


def test_a_store_goes_to_another_process_without_its_pixels(store):
    before = store.images(np.arange(5))
    copy = pickle.loads(pickle.dumps(store))
    assert not copy._arrays
    assert np.array_equal(copy.images(np.arange(5)), before)
