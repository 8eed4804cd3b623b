"""Class weights against their definition, and images of several stores in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from crossprobe.errors import InvalidMetadata
from crossprobe.training.class_source import LabelledImages, class_weights
from crossprobe.training.frame_source import FrameSource


class Store:
    def __init__(self, first: int, classes: list[str]) -> None:
        frames = range(len(classes))
        self.manifest = pd.DataFrame({"class": classes, "video": f"v{first}", "frame": frames})
        self.size = 2
        self._first = first

    def images(self, rows):
        return np.stack([np.full((2, 2), self._first + row, np.uint8) for row in rows])


def source(store: Store, rows: list[int]) -> FrameSource:
    return FrameSource(store, np.array(rows), torch.device("cpu"), labels=False)


def test_class_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [50, 10, 3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights(np.bincount(labels)) == pytest.approx(expected)
    with pytest.raises(InvalidMetadata, match="every class needs a training image"):
        class_weights(np.array([4, 0]))


def test_several_stores_stand_in_line():
    first, second = Store(0, ["a", "b", "a"]), Store(100, ["b", "b"])
    images = LabelledImages([source(first, [2, 0]), source(second, [1, 0])], ("a", "b"))
    assert len(images) == 4
    positions = torch.tensor([3, 0, 2, 1, 0])
    levels = (images.images(positions)[:, 0, 0, 0] * 255).round().tolist()
    assert levels == [100, 2, 101, 0, 2]
    assert images.labels(positions).tolist() == [1, 0, 1, 0, 0]
    assert images.counts().tolist() == [2, 2]
    assert images.names(positions) == ["v100/0", "v0/2", "v100/1", "v0/0", "v0/2"]


def test_a_class_that_is_not_asked_for():
    with pytest.raises(InvalidMetadata, match=r"class \['b'\].*classifier of \['a', 'c'\]"):
        LabelledImages([source(Store(0, ["a", "b"]), [0, 1])], ("a", "c"))
