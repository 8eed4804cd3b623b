"""Copies are found whatever was done to them, and different scans are left apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.data.duplicates import (
    DuplicateSettings,
    conflicting_groups,
    group_duplicates,
    image_traits,
)
from crossprobe.data.video import read_image


def brightened(image):
    return np.clip(image * 1.15 + 12, 0, 255).astype(np.uint8)


def saved_as_jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)


def cropped(image, share=0.05):
    top, left = round(share * image.shape[0]), round(share * image.shape[1])
    return np.ascontiguousarray(image[top:-top, left:-left])


COPIES = {
    "exact": lambda image: image,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cropped by 5 % a side": cropped,
    "brighter": brightened,
    "JPEG 70": saved_as_jpeg,
}


def groups_of(images, settings=None):
    return group_duplicates([image_traits(image) for image in images], settings or DuplicateSettings())


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_and_strangers_are_not(name, make_speckle):
    images = list(make_speckle(12, 180, 240, seed=4))
    groups = groups_of([*images, COPIES[name](images[3])])
    assert groups.tolist() == [*range(12), 3]


def test_a_copy_of_a_copy_is_in_the_group(make_speckle):
    image = make_speckle(1, 180, 240)[0]
    chain = [image, cropped(image), cropped(cropped(image)), COPIES["mirrored"](cropped(image))]
    assert groups_of([*make_speckle(3, 180, 240, 9), *chain]).tolist() == [0, 1, 2, 3, 3, 3, 3]


def test_search_can_be_switched_off(make_speckle):
    image = make_speckle(1, 60, 80)[0]
    assert groups_of([image, image], DuplicateSettings(find=False)).tolist() == [0, 1]


def test_flat_images_are_like_nothing_but_their_equals():
    black, grey = np.zeros((60, 80), np.uint8), np.full((60, 80), 120, np.uint8)
    assert groups_of([black, grey, black, grey[:50]]).tolist() == [0, 1, 0, 3]


def test_no_image_and_one():
    assert group_duplicates([], DuplicateSettings()).tolist() == []
    assert groups_of([np.full((40, 40), 9, np.uint8)]).tolist() == [0]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), max_size=20))
def test_conflicts_are_what_a_plain_loop_finds(members):
    groups = np.array([group for group, _ in members], dtype=np.int64)
    labels = [label for _, label in members]
    expected = {}
    for group in set(groups.tolist()):
        held = sorted({label for place, label in members if place == group})
        if len(held) > 1:
            expected[group] = held
    assert conflicting_groups(groups, labels) == expected


@pytest.mark.data
def test_planted_copies_of_real_scans(real_data):
    """95 % of planted pairs are grouped, and at most 1 % of random ones; one image in ten of BUSI."""
    root = real_data("busi") / "Dataset_BUSI_with_GT"
    files = [file for file in sorted(root.rglob("*.png")) if "_mask" not in file.name][::10]
    images = [read_image(file) for file in files]
    planted = [copy(image) for copy in COPIES.values() for image in images]
    groups = groups_of([*images, *planted])
    originals, copies = groups[: len(images)], groups[len(images) :].reshape(len(COPIES), -1)
    for name, found in zip(COPIES, copies == originals, strict=True):
        assert found.mean() >= 0.95, name
    one, other = np.triu_indices(len(images), 1)
    assert (originals[one] == originals[other]).mean() <= 0.01
