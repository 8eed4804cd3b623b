"""Which images an arm may use: bad tables and thin classes are told, few labels are dealt fairly."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.classification.images import (
    check_training,
    few_labels,
    labelled_rows,
    part_rows,
    study_classes,
)


class Store:
    def __init__(self, rows: list[tuple[str, str, str]]) -> None:
        self.manifest = pd.DataFrame(rows, columns=["patient", "video", "class"])


STORE = Store(
    [("p1", "v1", "benign"), ("p1", "v2", "benign"), ("p2", "v3", "malignant"), ("p3", "v4", "normal"),
     ("p4", "v5", "cyst"), ("p5", "v6", "unknown"), ("p6", "v7", "benign")]
)  # fmt: skip
SPLIT = {"site": "target", "parts": {"train": ["p1", "p2", "p3", "p5"], "test": ["p4", "p6"]}}


def test_the_classes_are_those_of_the_training_part():
    assert study_classes(STORE, SPLIT, None, ()) == ("benign", "malignant", "normal")
    assert study_classes(STORE, SPLIT, None, ("normal",)) == ("benign", "malignant")
    assert study_classes(STORE, SPLIT, ("x", "y"), ()) == ("x", "y")
    with pytest.raises(InvalidMetadata, match=r"holds the classes \['benign'\], and two at least"):
        study_classes(STORE, SPLIT, None, ("normal", "malignant"))


def test_a_class_that_the_classifier_lacks_is_named_with_its_count():
    with pytest.raises(
        InvalidMetadata,
        match=r"site 'target', part 'test' holds class 'cyst' \(1 images\), which the classifier of b",
    ):
        labelled_rows(STORE, SPLIT, "test", ("benign", "malignant"), ())
    assert labelled_rows(STORE, SPLIT, "test", ("benign", "malignant"), ("cyst",)).tolist() == [6]


def test_images_left_out_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        rows = labelled_rows(STORE, SPLIT, "train", ("benign", "malignant"), ("normal",))
    assert rows.tolist() == [0, 1, 2]
    assert "'unknown': 1" in caplog.text
    assert "'normal': 1" in caplog.text


def test_nothing_to_learn_from():
    with pytest.raises(InvalidMetadata, match="no image of class a, b"):
        labelled_rows(STORE, SPLIT, "test", ("a", "b"), ("cyst", "benign"))
    with pytest.raises(InvalidMetadata, match="no part 'val', only train, test"):
        part_rows(STORE, SPLIT, "val")


def test_an_empty_class_stops_and_a_thin_one_is_told(caplog):
    with pytest.raises(InvalidMetadata, match="arm x: class cyst has no training image"):
        check_training(STORE, np.arange(4), ("benign", "cyst"), "arm x")
    check_training(STORE, np.arange(4), ("benign", "normal"), "arm x")
    assert "1 training images of normal" in caplog.text


def test_a_split_by_image_cuts_through_patients():
    split = {"site": "source", "unit": "image", "parts": {"train": ["v1"], "test": ["v2"]}}
    assert part_rows(STORE, split, "train").tolist() == [0]
    assert part_rows(STORE, split, "test").tolist() == [1]


def test_few_labels_come_from_different_patients_first():
    rows = [(f"p{n // 5}", f"v{n}", "a" if n < 20 else "b") for n in range(40)]
    store = Store(rows)
    chosen = few_labels(store, np.arange(40), ("a", "b"), 4, seed=0)
    table = store.manifest.iloc[chosen]
    assert table["class"].value_counts().to_dict() == {"a": 4, "b": 4}
    assert table["patient"].nunique() == 8
    assert few_labels(store, np.arange(40), ("a", "b"), 4, seed=0).tolist() == chosen.tolist()
    assert few_labels(store, np.arange(40), ("a", "b"), 4, seed=1).tolist() != chosen.tolist()
    assert len(few_labels(store, np.arange(40), ("a", "b"), 99, seed=0)) == 40
