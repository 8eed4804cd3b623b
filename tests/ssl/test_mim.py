"""Masks, hiding and the loss of masked image modelling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.ssl.mim import MimMask, MimSettings, draw_mask, hide, mim_loss, pixel_mask, rebuilt, target_of
from crossprobe.training.counter_random import uniform


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def uniforms_for(permutation: np.ndarray) -> torch.Tensor:
    """Numbers whose ascending order is the given permutation."""
    return torch.from_numpy(np.argsort(permutation) / permutation.size).float()[None]


def mask_of(hidden: torch.Tensor) -> MimMask:
    return MimMask(hidden=hidden, speckled=torch.zeros_like(hidden))


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_public_masks(golden, share, seed):
    reference = golden("mim_masks.npz")
    order = np.random.RandomState(seed).permutation(49)
    mask = draw_mask(uniforms_for(order), MimSettings(speckle_share=share))
    speckled = mask.speckled[0, 0].numpy()
    zeroed = mask.hidden[0, 0].numpy() & ~speckled
    np.testing.assert_array_equal(speckled, reference[f"noisy_nr{share}_seed{seed}"])
    np.testing.assert_array_equal(zeroed, reference[f"zeroed_nr{share}_seed{seed}"])


def test_public_speckle(golden):
    reference = golden("mim_masks.npz")
    image = torch.from_numpy(reference["speckle_in"] / 255.0)[None, None]
    noise = torch.from_numpy(np.random.RandomState(3).randn(32, 32))[None, None]
    everywhere = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    speckled = hide(image, MimMask(everywhere, everywhere), noise)[0, 0].numpy() * 255
    np.testing.assert_allclose(speckled, reference["speckle_out_seed3"], rtol=1e-9, atol=1e-9)


def test_public_masked_image(golden):
    reference = golden("dataset.npz")
    generator = np.random.RandomState(100)
    order, noise = generator.permutation(49), generator.randn(224, 224)
    mask = draw_mask(uniforms_for(order), MimSettings(speckle_share=0.2))
    image = torch.from_numpy(reference["mim_image_u8_v1_001.png"] / 255.0)[None, None]
    masked = hide(image, mask, torch.from_numpy(noise)[None, None])[0, 0].numpy()
    np.testing.assert_array_equal(mask.hidden[0, 0].numpy(), reference["mim_mask7x7_seed100"])
    # The public file was cut to whole grey values on the way, so one grey value of 255 may differ.
    stored = reference["mim_masked_u8_v1_001.png_seed100"].astype(np.float64)
    np.testing.assert_allclose(masked * 255, stored, rtol=0, atol=1.0)


def test_public_loss_is_a_third_of_ours(golden):
    reference = golden("mim_loss.npz")
    images, reconstruction = (torch.from_numpy(reference[k]) for k in ("x_original", "x_rec"))
    pixels = torch.from_numpy(reference["mask3"]).bool()
    assert torch.equal(pixels[:, 0], pixels[:, 1])
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    mask, one_pixel = mask_of(pixels[:, :1]), MimSettings(mask_patch_px=1)
    loss = mim_loss(reconstruction, images, mask, one_pixel).item()
    assert loss == pytest.approx(float(reference["true_masked_mae"]), rel=1e-5)
    assert loss / 3 == pytest.approx(float(reference["loss_default"]), rel=1e-5)
    # Its other form adds the root mean square over all pixels to each hidden pixel's error.
    all_pixels = (reconstruction - images).square().mean().sqrt().item()
    assert (loss + all_pixels) / 3 == pytest.approx(float(reference["loss_rmse_mae"]), rel=1e-5)
    nothing = mim_loss(reconstruction, images, mask_of(torch.zeros_like(pixels[:, :1])), one_pixel)
    assert nothing.item() == float(reference["loss_all_unmasked"])


@settings(max_examples=40, deadline=None)
@given(
    grid=st.integers(1, 9), ratio=st.floats(0.01, 1.0), share=st.floats(0.0, 1.0), seed=st.integers(0, 1000)
)
def test_every_image_hides_the_same_number_of_cells(grid, ratio, share, seed):
    chosen = MimSettings(mask_ratio=ratio, speckle_share=share)
    mask = draw_mask(uniform(grid * grid, seed, 0, torch.arange(6), 0), chosen)
    hidden, speckled = mask.hidden.sum(dim=(1, 2, 3)), mask.speckled.sum(dim=(1, 2, 3))
    assert hidden.unique().numel() == speckled.unique().numel() == 1
    assert ratio * grid**2 - 1e-6 <= hidden[0] < ratio * grid**2 + 1
    assert share * hidden[0] - 1 < speckled[0] <= share * hidden[0] + 1e-6
    assert not (mask.speckled & ~mask.hidden).any()


def test_equal_numbers_still_give_the_exact_count():
    assert draw_mask(torch.zeros(2, 25), MimSettings()).hidden.sum(dim=(1, 2, 3)).tolist() == [15, 15]


def test_every_cell_is_hidden_about_as_often():
    mask = draw_mask(uniform(49, 0, 0, torch.arange(4000), 0), MimSettings())
    share = mask.hidden.float().mean(dim=0)
    assert (share - 30 / 49).abs().max() < 0.04


def test_hide_touches_hidden_cells_only():
    images = torch.rand(3, 2, 64, 64) * 0.9 + 0.1
    chosen = MimSettings(mask_patch_px=16, speckle_share=0.5)
    mask = draw_mask(torch.rand(3, 16), chosen)
    masked = hide(images, mask, torch.randn(3, 1, 64, 64))
    hidden, speckled = (pixel_mask(cells, 64).expand_as(images) for cells in mask)
    assert torch.equal(masked[~hidden], images[~hidden])
    assert (masked[hidden & ~speckled] == 0).all()
    assert masked.min() >= 0.0
    assert masked.max() <= 1.0
    assert (masked[speckled] != images[speckled]).float().mean() > 0.95


def test_without_noise_hidden_cells_are_zero():
    images = torch.rand(2, 3, 64, 64) + 0.1
    mask = draw_mask(torch.rand(2, 4), MimSettings())
    hidden = pixel_mask(mask.hidden, 64)
    assert torch.equal(hide(images, mask), images * ~hidden)


def test_loss_counts_hidden_pixels_alone():
    images, chosen = torch.rand(2, 1, 8, 8), MimSettings(mask_patch_px=4)
    hidden = torch.tensor([[1, 0], [0, 0]]).bool().expand(2, 1, 2, 2)
    reconstruction = images.clone()
    reconstruction[..., 4:, 4:] += 7.0
    assert mim_loss(reconstruction, images, mask_of(hidden), chosen) == 0
    reconstruction[..., :4, :4] += 0.25
    assert mim_loss(reconstruction, images, mask_of(hidden), chosen).item() == pytest.approx(0.25, rel=1e-5)


def test_gradient_reaches_hidden_pixels_alone():
    images, chosen = torch.rand(1, 1, 8, 8), MimSettings(mask_patch_px=4)
    hidden = torch.tensor([[1, 0], [0, 1]]).bool().view(1, 1, 2, 2)
    reconstruction = torch.zeros_like(images, requires_grad=True)
    mim_loss(reconstruction, images, mask_of(hidden), chosen).backward()
    assert torch.equal(reconstruction.grad != 0, pixel_mask(hidden, 8))


def test_standardised_targets():
    images, chosen = torch.rand(2, 3, 32, 32), MimSettings(mask_patch_px=8, per_patch_normalisation=True)
    cells = target_of(images, chosen).unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3)
    torch.testing.assert_close(cells.mean(-1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(cells.var(-1, unbiased=False), torch.ones(2, 4, 4), atol=1e-3, rtol=0)
    flat = target_of(torch.full((1, 1, 8, 8), 0.3), chosen)
    assert torch.isfinite(flat).all()
    assert flat.abs().max() < 1e-3


@pytest.mark.parametrize("standardised", [False, True])
def test_a_perfect_reconstruction_costs_nothing_and_gives_the_image_back(standardised):
    images = torch.rand(2, 1, 32, 32)
    chosen = MimSettings(mask_patch_px=8, per_patch_normalisation=standardised)
    mask = draw_mask(torch.rand(2, 16), chosen)
    perfect = target_of(images, chosen)
    assert mim_loss(perfect, images, mask, chosen) == 0
    torch.testing.assert_close(rebuilt(perfect, images, mask, chosen), images)
    assert not torch.allclose(rebuilt(perfect + 1, images, mask, chosen), images)


def test_single_precision_inside_autocast():
    images, chosen = torch.rand(2, 1, 32, 32), MimSettings(mask_patch_px=8)
    mask, reconstruction = draw_mask(torch.rand(2, 16), chosen), torch.rand(2, 1, 32, 32).bfloat16()
    outside = mim_loss(reconstruction, images, mask, chosen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mim_loss(reconstruction, images, mask, chosen)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_cells_must_fit():
    assert MimSettings().grid(224) == 7
    with pytest.raises(ValueError, match="does not divide"):
        MimSettings(mask_patch_px=32).grid(100)
    with pytest.raises(ValueError, match="square grid"):
        draw_mask(torch.rand(1, 48), MimSettings())
