"""Image and mask move together, by as much as was asked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.training.counter_random import uniform
from crossprobe.training.segmentation_augment import (
    UNIFORMS_PER_PAIR,
    SegmentationAugmentSettings,
    augment_pair,
    draw_affine,
)

NONE = SegmentationAugmentSettings.none()
DEFAULT = SegmentationAugmentSettings()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def only(**strengths) -> SegmentationAugmentSettings:
    return NONE.model_copy(update=strengths)


def disc(side: int = 64, row: float = 28.0, column: float = 36.0, radius: float = 12.0) -> torch.Tensor:
    places = torch.arange(side) + 0.5
    inside = (places[:, None] - row).square() + (places[None, :] - column).square() < radius**2
    return inside.float()[None, None]


def numbers(**columns: float) -> torch.Tensor:
    """Numbers in the middle of their range, which change nothing, but for those named."""
    names = ("flip", "upside_down", "scale", "rotate", "across", "down", "gamma", "brightness", "contrast")
    return torch.tensor([[columns.get(name, 0.5) for name in names]])


def centre(mask: torch.Tensor) -> tuple[float, float]:
    rows, columns = mask[0, 0].nonzero(as_tuple=True)
    return rows.float().mean().item() + 0.5, columns.float().mean().item() + 0.5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_image_and_mask_stay_together(seed):
    mask = disc()
    chosen = only(flip_probability=0.5, scale=0.3, rotate_degrees=40.0, translate_share=0.1)
    image, moved = augment_pair(
        mask.clone(), mask, uniform(UNIFORMS_PER_PAIR, seed, 0, torch.arange(1), 0), chosen
    )
    assert torch.equal(image >= 0.5, moved == 1)
    assert moved.unique().tolist() == [0.0, 1.0]


def test_no_strength_changes_nothing():
    images, masks = torch.rand(3, 1, 16, 16), (torch.rand(3, 1, 16, 16) < 0.5).to(torch.uint8)
    same_images, same_masks = augment_pair(images, masks, torch.rand(3, UNIFORMS_PER_PAIR), NONE)
    assert torch.equal(same_images, images)
    assert same_masks is masks
    assert not NONE.moves
    assert not NONE.recolours


def test_the_middle_of_every_range_changes_nothing():
    images, masks = torch.rand(1, 1, 32, 32), disc(32, 14, 18, 6)
    chosen = DEFAULT.model_copy(update={"flip_probability": 0.4})
    same_images, same_masks = augment_pair(images, masks, numbers(), chosen)
    torch.testing.assert_close(same_images, images, rtol=0, atol=1e-4)
    assert torch.equal(same_masks, masks)


def test_flips():
    images, masks = torch.rand(1, 1, 16, 16), disc(16, 6, 9, 3)
    mirrored, mirrored_mask = augment_pair(images, masks, numbers(), only(flip_probability=1.0))
    torch.testing.assert_close(mirrored, images.flip(-1), rtol=0, atol=1e-5)
    assert torch.equal(mirrored_mask, masks.flip(-1))
    turned, _ = augment_pair(images, masks, numbers(), only(vertical_flip_probability=1.0))
    torch.testing.assert_close(turned, images.flip(-2), rtol=0, atol=1e-5)


def test_by_default_nothing_is_turned_upside_down():
    drawn = uniform(UNIFORMS_PER_PAIR, 0, 0, torch.arange(500), 0)
    theta = draw_affine(drawn[:, :6], DEFAULT)
    assert (theta[:, 1, 1] > 0).all()
    assert (theta[:, 0, 0] < 0).float().mean().item() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("number", "sign"), [(1 - 2**-24, 1), (0.0, -1)])
def test_shift_is_a_share_of_the_side(number, sign):
    _, moved = augment_pair(disc(), disc(), numbers(across=number, down=number), only(translate_share=0.125))
    # The map looks 8 px further, so the content moves 8 px back.
    assert centre(moved) == pytest.approx((28 - sign * 8, 36 - sign * 8), abs=0.05)


def test_scale_enlarges_about_the_centre():
    _, larger = augment_pair(disc(), disc(), numbers(scale=1 - 2**-24), only(scale=0.25))
    assert larger.sum().item() == pytest.approx(disc().sum().item() * 1.25**2, rel=0.03)
    assert centre(larger) == pytest.approx((32 + (28 - 32) * 1.25, 32 + (36 - 32) * 1.25), abs=0.2)


def test_quarter_turn():
    image = torch.rand(1, 1, 16, 16)
    turned, _ = augment_pair(image, disc(16, 8, 8, 3), numbers(rotate=1 - 2**-24), only(rotate_degrees=90.0))
    torch.testing.assert_close(turned, image.rot90(1, (-2, -1)), rtol=0, atol=1e-3)


def test_what_comes_in_from_outside_is_background():
    full = torch.ones(1, 1, 32, 32)
    image, mask = augment_pair(full, full, numbers(across=1 - 2**-24), only(translate_share=0.5))
    assert (image[..., 17:] == 0).all()
    assert (mask[..., 16:] == 0).all()
    assert (mask[..., :16] == 1).all()


def test_grey_values_change_in_the_image_alone():
    images, masks = torch.rand(4, 1, 16, 16), (torch.rand(4, 1, 16, 16) < 0.5).float()
    chosen = only(brightness=0.3, contrast=0.3, gamma=0.5)
    changed, same = augment_pair(images, masks, torch.rand(4, UNIFORMS_PER_PAIR), chosen)
    assert same is masks
    assert ((changed - images).abs().mean(dim=(1, 2, 3)) > 1e-3).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_gamma_by_hand():
    images = torch.rand(1, 1, 8, 8)
    brighter, _ = augment_pair(images, torch.zeros_like(images), numbers(gamma=0.0), only(gamma=1.0))
    torch.testing.assert_close(brighter, images.sqrt())


def test_a_pair_depends_on_its_sample_alone():
    images, masks = torch.rand(5, 1, 32, 32), (torch.rand(5, 1, 32, 32) < 0.3).float()
    drawn = uniform(UNIFORMS_PER_PAIR, 0, 0, torch.arange(5), 0)
    whole_images, whole_masks = augment_pair(images, masks, drawn, DEFAULT)
    for sample in range(5):
        one = slice(sample, sample + 1)
        image, mask = augment_pair(images[one], masks[one], drawn[one], DEFAULT)
        torch.testing.assert_close(image, whole_images[one])
        assert torch.equal(mask, whole_masks[one])


def test_types_are_kept():
    images, masks = torch.rand(2, 3, 16, 16).bfloat16(), torch.ones(2, 1, 16, 16, dtype=torch.uint8)
    image, mask = augment_pair(images, masks, torch.rand(2, UNIFORMS_PER_PAIR), DEFAULT)
    assert image.dtype == torch.bfloat16
    assert mask.dtype == torch.uint8


def test_wrong_arguments_are_refused():
    images, masks, drawn = torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), torch.rand(2, UNIFORMS_PER_PAIR)
    with pytest.raises(ValueError, match="masks"):
        augment_pair(images, masks[:, 0], drawn, DEFAULT)
    with pytest.raises(ValueError, match="uniforms"):
        augment_pair(images, masks, drawn[:, :3], DEFAULT)
