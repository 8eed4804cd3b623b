"""A packaged classifier reads files: tables of probabilities, the same as its networks give, and no masks."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import CrossprobeError, PackageRefused
from crossprobe.fusion.class_predictor import ClassifierPredictor
from crossprobe.prediction.class_reader import ClassReader
from crossprobe.prediction.open_reader import open_reader
from crossprobe.prediction.package import Package
from crossprobe.prediction.predict_files import predict_files
from crossprobe.prediction.settings import OutputSettings, PredictionSettings
from small_model import CLASSES, CPU, fan, small_classifier, small_package, write_clip

SALT = "some salt"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = small_classifier().save(tmp_path_factory.mktemp("classifier") / "package")
    return open_reader(Package.load(folder), CPU)


def predicted(reader, paths, folder, **changes) -> pd.DataFrame:
    outputs = OutputSettings(**changes.pop("outputs", {}))
    return predict_files(reader, paths, folder, PredictionSettings(outputs=outputs, **changes), SALT)


def test_branches_answer_by_the_mean_of_calibrated_probabilities(reader):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    package = small_classifier()
    single = [
        ClassifierPredictor.from_checkpoint(checkpoint, CPU, branch.temperature).probabilities(images).numpy()
        for checkpoint, branch in zip(package.checkpoints, package.index.branches, strict=True)
    ]
    assert reader.probabilities(images) == pytest.approx(np.mean(single, axis=0), abs=1e-6)
    assert reader.probabilities(images).sum(1) == pytest.approx(1)
    assert not np.allclose(*single)


def test_a_frame_is_prepared_as_those_of_the_store_are(reader):
    from crossprobe.prediction.view import find_view

    frame = fan(3)
    view = find_view([frame], reader.package.stream(1))
    expected = reader.probabilities(view.square(frame, 32)[None])[0]
    (found,) = reader.read(iter([frame]), batch_size=1)
    assert found.answer.probabilities == pytest.approx(expected)
    assert found.shape == frame.shape
    assert found.answer.name == CLASSES[int(expected.argmax())]


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_a_clip_and_a_picture(reader, tmp_path, table):
    clip = write_clip(tmp_path / "clip.avi", frames=20)
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), fan(5))
    files = predicted(reader, [clip, still], tmp_path / "out", outputs={"table": table}).set_index("file")
    read = pd.read_csv if table == "csv" else pd.read_parquet
    frames = read(tmp_path / f"out/frames.{table}")
    columns = ["class", "p_benign", "p_malignant", "confidence", "read"]
    assert list(frames.columns) == ["file", "output", "frame", "height", "width", *columns]
    assert set(columns) <= set(files.columns)
    assert frames.groupby("file").size().to_dict() == {"clip.avi": 20, "still.png": 1}
    assert frames[["p_benign", "p_malignant"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=2e-6)
    assert list(frames["confidence"]) == list(frames[["p_benign", "p_malignant"]].max(axis=1))
    means = frames.groupby("file")[["p_benign", "p_malignant"]].mean()
    assert files[["p_benign", "p_malignant"]].to_numpy(float) == pytest.approx(means.to_numpy(), abs=2e-6)
    flagged = frames["read"].fillna("") != ""
    assert flagged.to_numpy().tolist() == (frames["confidence"] < 0.6).tolist()
    assert files["to_read"].sum() == flagged.sum()
    below = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert below == {f"frames.{table}", f"files.{table}", "frames.csv"}


def test_a_file_that_cannot_be_used_is_a_row_without_a_class(reader, tmp_path):
    (tmp_path / "empty.png").touch()
    cv2.imwrite(str(tmp_path / "still.png"), fan(5))
    files = predicted(reader, [tmp_path / "empty.png", tmp_path / "still.png"], tmp_path / "out")
    assert files["status"].tolist() == ["rejected", "predicted"]
    assert files["class"].isna().tolist() == [True, False]


def test_masks_of_a_classifier_in_a_format_that_was_asked_for(reader, tmp_path):
    with pytest.raises(CrossprobeError, match="ensemble is a classifier and gives no masks"):
        predicted(reader, [write_clip(tmp_path / "clip.avi")], tmp_path / "out", outputs={"nifti": True})


def test_the_size_of_a_batch_changes_no_answer(reader):
    frames = [fan(number) for number in range(7)]
    one, many = (
        [item.answer.probabilities for item in reader.read(iter(frames), batch_size=size)] for size in (1, 7)
    )
    assert np.array(one) == pytest.approx(np.array(many), abs=1e-6)


def test_a_segmenter_names_no_classes_and_a_package_says_which_it_names():
    with pytest.raises(PackageRefused, match="fused is a segmenter; classes are asked for"):
        ClassReader(small_package(), CPU)
    with pytest.raises(PackageRefused, match="answers benign, malignant, the package a, b"):
        ClassReader(small_classifier(classes=("a", "b")), CPU)
