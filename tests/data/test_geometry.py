from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.data.geometry import square, square_mask, unsquare

FRAMES = ["v1_001.png", "v1_002.png", "v1_003.png", "v2_001.png"]


@pytest.mark.parametrize("name", FRAMES)
def test_images_match_the_published_preprocessing(golden, name):
    arrays = golden("dataset.npz")
    assert np.array_equal(square(arrays[f"raw_{name}"], 224), arrays[f"finetune_image_u8_{name}"])


@pytest.mark.parametrize("name", FRAMES)
def test_masks_match_the_published_preprocessing(golden, name):
    arrays = golden("dataset.npz")
    assert np.array_equal(square_mask(arrays[f"rawmask_{name}"], 224), arrays[f"finetune_mask_{name}"])


def test_padding_goes_to_the_bottom_of_a_wide_frame():
    frame = square(np.full((50, 100), 200, np.uint8), 100)
    assert (frame[:49] == 200).all()
    assert (frame[51:] == 0).all()


def test_padding_goes_to_the_right_of_a_tall_frame():
    frame = square(np.full((100, 50), 200, np.uint8), 100)
    assert (frame[:, :49] == 200).all()
    assert (frame[:, 51:] == 0).all()


@given(st.integers(32, 150), st.integers(32, 150), st.sampled_from([64, 96, 128]))
def test_a_mask_comes_back_where_it_was(height, width, size):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    back = unsquare(square_mask(mask, size).astype(np.float32), height, width) >= 0.5
    assert back.shape == mask.shape
    overlap = 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum())
    assert overlap > 0.88


@given(st.integers(20, 90), st.integers(20, 90))
def test_a_ramp_survives_the_way_there_and_back(height, width):
    ramp = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    side = max(height, width)
    padded = np.zeros((side, side), np.float32)
    padded[:height, :width] = ramp
    assert np.allclose(unsquare(padded, height, width), ramp, atol=1e-6)


def test_values_stay_inside_their_range():
    values = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    back = unsquare(values, 101, 140)
    assert back.min() >= 0
    assert back.max() <= 1


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_another_type_or_shape_is_refused(bad):
    with pytest.raises(TypeError, match="expected a uint8 array"):
        square(bad, 32)
