"""The views of contrastive learning against image libraries' results and their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import stats

from crossprobe.ssl.augment import (
    UNIFORMS_PER_VIEW,
    ContrastiveAugmentSettings,
    contrastive_view,
    crop_resize,
    draw_crops,
)
from crossprobe.training.counter_random import uniform
from crossprobe.training.grey_values import adjust_brightness, adjust_contrast

DEFAULT = ContrastiveAugmentSettings()
UNCHANGED = ContrastiveAugmentSettings(
    area_smallest=1.0, aspect_smallest=1.0, aspect_largest=1.0, flip_probability=0.0, jitter_probability=0.0
)
NO, YES = torch.tensor([False]), torch.tensor([True])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def grey(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / 255)[None, None]


def levels(image: torch.Tensor) -> np.ndarray:
    return image[0, 0].numpy() * 255


def test_public_crop(golden):
    reference = golden("augment.npz")
    found = levels(crop_resize(grey(reference["padded"]), torch.from_numpy(reference["crop"])[None], NO, 224))
    # The reference rounds to whole levels after each of its two passes: half a level each.
    np.testing.assert_allclose(found, reference["resized"], rtol=0, atol=1.02)
    assert np.abs(found - reference["resized"]).mean() < 0.4


def test_public_flip_and_jitter_step_by_step(golden):
    reference = golden("augment.npz")
    flipped = grey(reference["resized"]).flip(-1)
    whole = torch.tensor([[0, 0, 224, 224]])
    torch.testing.assert_close(crop_resize(grey(reference["resized"]), whole, YES, 224), flipped)
    brighter = adjust_brightness(flipped, torch.tensor([1.25]))
    np.testing.assert_allclose(levels(brighter), reference["brightness1p25_after_flip"], rtol=0, atol=1.0)
    # One level of rounding, and half a level by which the reference rounds the mean, times .3.
    flatter = adjust_contrast(grey(reference["brightness1p25_after_flip"]), torch.tensor([0.7]))
    np.testing.assert_allclose(levels(flatter), reference["contrast0p7"], rtol=0, atol=1.15)


def test_public_chain_end_to_end(golden):
    reference = golden("augment.npz")
    view = crop_resize(grey(reference["padded"]), torch.from_numpy(reference["crop"])[None], YES, 224)
    view = adjust_contrast(adjust_brightness(view, torch.tensor([1.25])), torch.tensor([0.7]))
    # One level from the resize, times 1.25, times .7, and one from each rounding behind it.
    np.testing.assert_allclose(levels(view), reference["contrast0p7"], rtol=0, atol=1.25 * 0.7 + 0.7 + 1.15)
    assert np.abs(levels(view) - reference["contrast0p7"]).mean() < 1.0


def drawn_like_the_public_code(side: int) -> tuple[list[int], list[float]]:
    """A crop by the usual rejection loop, and the numbers that `draw_crops` needs to find the same."""
    areas, aspects = [], []
    for _ in range(10):
        area = torch.empty(1).uniform_(0.5, 1.0).item()
        log_aspect = torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3)).item()
        areas.append((area - 0.5) / 0.5)
        aspects.append((log_aspect - math.log(3 / 4)) / (math.log(4 / 3) - math.log(3 / 4)))
        width = round(side * math.sqrt(area * math.exp(log_aspect)))
        height = round(side * math.sqrt(area / math.exp(log_aspect)))
        if 0 < width <= side and 0 < height <= side:
            break
    top = int(torch.randint(0, side - height + 1, (1,)))
    left = int(torch.randint(0, side - width + 1, (1,)))
    unused = [0.5] * (10 - len(areas))
    place = [(top + 0.5) / (side - height + 1), (left + 0.5) / (side - width + 1)]
    return [top, left, height, width], areas + unused + aspects + unused + place


def test_public_crop_parameters(golden):
    reference = golden("augment.npz")
    torch.manual_seed(0)
    drawn = [drawn_like_the_public_code(140) for _ in range(8)]
    assert [box for box, _ in drawn] == reference["rrc_params_seed0"].tolist()
    numbers = torch.tensor([row for _, row in drawn], dtype=torch.float32)
    assert draw_crops(numbers, 140, DEFAULT).int().tolist() == reference["rrc_params_seed0"].tolist()


def test_crops_are_distributed_like_the_rejection_loop():
    torch.manual_seed(1)
    usual = np.array([drawn_like_the_public_code(140)[0] for _ in range(3000)])
    ours = draw_crops(uniform(22, 0, 0, torch.arange(3000), 0), 140, DEFAULT).numpy()
    for column in range(4):
        assert stats.ks_2samp(usual[:, column], ours[:, column]).pvalue > 1e-3
    assert stats.ks_2samp(usual[:, 2] * usual[:, 3], ours[:, 2] * ours[:, 3]).pvalue > 1e-3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), side=st.integers(2, 90), size=st.integers(1, 120), channels=st.integers(1, 3)
)
def test_the_processors_kernel_is_the_sampling_at_a_grid(seed, side, size, channels):
    images = torch.rand(6, channels, side, side, generator=torch.Generator().manual_seed(seed))
    numbers = uniform(23, seed, 0, torch.arange(6), 0)
    boxes, flip = draw_crops(numbers[:, :22], side, DEFAULT), numbers[:, 22] < 0.5
    found = crop_resize(images, boxes, flip, size)
    torch.testing.assert_close(
        found.double(), crop_resize(images.double(), boxes, flip, size), rtol=0, atol=2e-5
    )


def test_places_between_pixels_and_gradients_are_left_to_the_grid():
    images, box = torch.rand(1, 1, 20, 20), torch.tensor([[2.0, 3.0, 10.0, 11.0]])
    whole = crop_resize(images, box, NO, 20)
    shifted = crop_resize(images, box + torch.tensor([0.5, 0.0, 0.0, 0.0]), NO, 20)
    assert not torch.allclose(whole, shifted, atol=1e-3)
    images.requires_grad_()
    crop_resize(images, box, NO, 20).sum().backward()
    assert images.grad is not None
    assert images.grad.sum() == pytest.approx(400, rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.integers(8, 300), smallest=st.floats(0.01, 1.0))
def test_crops_lie_inside(seed, side, smallest):
    chosen = ContrastiveAugmentSettings(area_smallest=smallest)
    top, left, height, width = draw_crops(uniform(22, seed, 0, torch.arange(50), 0), side, chosen).unbind(1)
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= side).all()
    assert (left + width <= side).all()
    nearly_one = torch.full((1, 22), 1 - 2**-24)
    top, left, height, width = draw_crops(nearly_one, side, chosen)[0]
    assert top + height <= side
    assert left + width <= side


def test_no_candidate_fits_so_the_image_stays_whole():
    # All candidates as large as the image and as wide as allowed: none fits.
    assert draw_crops(torch.full((1, 22), 1 - 2**-24), 64, DEFAULT)[0].tolist() == [0, 0, 64, 64]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_crop_is_the_antialiased_resize_of_an_image_library(seed):
    """Enlarging, antialiasing filters nothing: PIL's resize of the cut-out agrees to its rounding."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (48, 48), dtype=np.uint8)
    box = draw_crops(uniform(22, seed, 0, torch.arange(1), 0), 48, DEFAULT)
    top, left, height, width = box[0].int().tolist()
    cut = Image.fromarray(image[top : top + height, left : left + width])
    expected = np.asarray(cut.resize((48, 48), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(levels(crop_resize(grey(image), box, NO, 48)), expected, rtol=0, atol=1.05)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.4])
def test_jitter_is_that_of_an_image_library(factor):
    image = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    picture, by = Image.fromarray(image), torch.tensor([factor])
    brighter = np.asarray(ImageEnhance.Brightness(picture).enhance(factor))
    np.testing.assert_allclose(levels(adjust_brightness(grey(image), by)), brighter, rtol=0, atol=1.0)
    sharper = np.asarray(ImageEnhance.Contrast(picture).enhance(factor))
    np.testing.assert_allclose(levels(adjust_contrast(grey(image), by)), sharper, rtol=0, atol=1.25)


def test_a_view_depends_on_its_sample_alone():
    images, numbers = torch.rand(6, 1, 32, 32), uniform(UNIFORMS_PER_VIEW, 0, 0, torch.arange(6), 0)
    whole = contrastive_view(images, numbers, DEFAULT)
    for sample in range(6):
        one = slice(sample, sample + 1)
        torch.testing.assert_close(contrastive_view(images[one], numbers[one], DEFAULT), whole[one])
    assert torch.equal(contrastive_view(images, numbers, DEFAULT), whole)


def test_two_streams_give_two_views():
    images = torch.rand(4, 1, 32, 32)
    first, second = (
        contrastive_view(images, uniform(UNIFORMS_PER_VIEW, 0, 0, torch.arange(4), stream), DEFAULT)
        for stream in (0, 1)
    )
    assert ((first - second).abs().mean(dim=(1, 2, 3)) > 0.01).all()


def test_range_type_and_grey_channels_are_kept():
    images = torch.rand(8, 1, 32, 32).expand(8, 3, 32, 32)
    numbers = uniform(UNIFORMS_PER_VIEW, 0, 0, torch.arange(8), 0)
    views = contrastive_view(images, numbers, DEFAULT)
    assert views.min() >= 0
    assert views.max() <= 1
    torch.testing.assert_close(views[:, 0], views[:, 2])
    torch.testing.assert_close(views[:, :1], contrastive_view(images[:, :1], numbers, DEFAULT))
    assert contrastive_view(images.bfloat16(), numbers, DEFAULT).dtype == torch.bfloat16


def test_nothing_asked_nothing_changed():
    images = torch.rand(3, 1, 32, 32)
    views = contrastive_view(images, torch.rand(3, UNIFORMS_PER_VIEW), UNCHANGED)
    torch.testing.assert_close(views, images, rtol=0, atol=1e-5)


def test_flips_and_jitter_come_as_often_as_asked():
    ramp = torch.linspace(0, 1, 16).expand(2000, 1, 16, 16)
    numbers = uniform(UNIFORMS_PER_VIEW, 3, 0, torch.arange(2000), 0)
    flips = UNCHANGED.model_copy(update={"flip_probability": 0.5})
    views = contrastive_view(ramp, numbers, flips)
    assert (views[:, 0, 0, 0] > 0.5).float().mean().item() == pytest.approx(0.5, abs=0.04)
    jitter = UNCHANGED.model_copy(update={"jitter_probability": 0.8})
    changed = (contrastive_view(ramp, numbers, jitter) - ramp).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.04)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="square"):
        contrastive_view(torch.rand(1, 1, 8, 9), torch.rand(1, UNIFORMS_PER_VIEW), DEFAULT)
    with pytest.raises(ValueError, match="uniforms"):
        contrastive_view(torch.rand(2, 1, 8, 8), torch.rand(1, UNIFORMS_PER_VIEW), DEFAULT)
    with pytest.raises(ValueError, match="area_smallest"):
        ContrastiveAugmentSettings(area_smallest=0.9, area_largest=0.5)
