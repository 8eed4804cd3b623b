"""Fusion against the public numbers, and what Corrections 1 says about it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from crossprobe.fusion.confidence import (
    entropy_confidence,
    foreground,
    fuse,
    margin_confidence,
)

RAW = {"entropy": entropy_confidence, "margin": margin_confidence}
BRANCHES = npst.arrays(np.float64, (2, 1, 1, 4, 4), elements=st.floats(0, 1))


def branches_of(reference) -> torch.Tensor:
    return torch.from_numpy(np.stack([reference["p_gen"], reference["p_con"]]))


def stretched(confidence: torch.Tensor, images: slice) -> torch.Tensor:
    """The public code's scaling of a branch to [0, 1] over the tensor it happens to see."""
    seen = confidence[images]
    return (seen - seen.min()) / (seen.max() - seen.min() + 1e-6)


def fused_publicly(probabilities: torch.Tensor, confidences: list[torch.Tensor]) -> torch.Tensor:
    first, second = confidences
    return (probabilities[0] * first + probabilities[1] * second) / (first + second + 1e-6)


@pytest.mark.parametrize("mode", ["entropy", "margin"])
def test_public_confidences(golden, mode):
    reference = golden("fusion.npz")
    for branch, name in enumerate(("gen", "con")):
        found = RAW[mode](branches_of(reference)[branch])
        np.testing.assert_allclose(found.numpy(), reference[f"{mode}_raw_{name}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mode", "stem"), [("entropy", "entropy"), ("margin", "margin_intended")])
def test_public_fusion_is_ours_plus_its_scaling(golden, mode, stem):
    reference = golden("fusion.npz")
    probabilities = branches_of(reference)
    whole = [stretched(RAW[mode](branch), slice(None)) for branch in probabilities]
    for found, name in zip(whole, ("cg", "cc"), strict=True):
        np.testing.assert_allclose(found.numpy(), reference[f"{stem}_{name}_batch"], rtol=1e-5, atol=1e-5)
    batch = fused_publicly(probabilities, whole)
    np.testing.assert_allclose(batch.numpy(), reference[f"{stem}_batch"], rtol=1e-5, atol=1e-5)
    for image in range(3):
        one = slice(image, image + 1)
        alone = [stretched(RAW[mode](branch), one) for branch in probabilities]
        found = fused_publicly(probabilities[:, one], alone)
        np.testing.assert_allclose(found.numpy(), reference[f"{stem}_perimage"][one], rtol=1e-5, atol=1e-5)


def test_public_weights_give_our_weighting(golden):
    reference = golden("fusion.npz")
    probabilities = branches_of(reference)
    scaled = torch.stack([stretched(entropy_confidence(branch), slice(None)) for branch in probabilities])
    # As evidence on top of equal confidence, the public weights give the public result.
    found = fuse(probabilities, "average", evidence=scaled).probability
    total = torch.from_numpy(reference["entropy_cg_batch"] + reference["entropy_cc_batch"])
    clear = (total > 1e-2).numpy()
    np.testing.assert_allclose(found.numpy()[clear], reference["entropy_batch"][clear], rtol=2e-4)


@pytest.mark.parametrize("name", ["average_batch", "average_perimage", "official_top2_flag_batch"])
def test_public_average(golden, name):
    reference = golden("fusion.npz")
    found = fuse(branches_of(reference), "average").probability
    # The public form adds 1e-6 to the sum of the weights, 2.
    np.testing.assert_allclose(found.numpy() * 2 / (2 + 1e-6), reference[name], rtol=1e-5, atol=1e-6)


def test_a_saturated_pixel_does_no_harm(golden):
    reference = golden("fusion.npz")
    assert np.isnan(reference["entropy_batch_with_one_p_eq_1_in_image1"]).all()
    clean = branches_of(reference)
    saturated = clean.clone()
    saturated[0, 1, 0, 3, 3] = 1.0
    for mode in ("average", "entropy", "margin"):
        found, before = fuse(saturated, mode), fuse(clean, mode)
        assert torch.isfinite(found.probability).all()
        changed = found.probability != before.probability
        assert changed.sum() == 1
        assert changed[1, 0, 3, 3]


@settings(max_examples=200, deadline=None)
@given(probabilities=BRANCHES)
def test_two_sigmoid_branches_give_one_mask_in_every_mode(probabilities):
    """Corrections 1: f(a1) + f(a2) has the sign of a1 + a2 for any odd, growing f."""
    raw = torch.from_numpy(probabilities)
    masks = {mode: fuse(raw, mode).probability for mode in ("average", "entropy", "margin")}
    # Where the branches cancel to the last digits the answer is a coin toss in any arithmetic.
    decided = (masks["average"] - 0.5).abs() > 1e-9
    for mode in ("entropy", "margin"):
        assert torch.equal(foreground(masks[mode])[decided], foreground(masks["average"])[decided])


@settings(max_examples=100, deadline=None)
@given(logits=npst.arrays(np.float32, (2, 1, 1, 5, 5), elements=st.floats(-30, 30, width=32)))
def test_the_same_in_single_precision(logits):
    raw = torch.sigmoid(torch.from_numpy(logits))
    average = fuse(raw, "average").probability
    decided = (average - 0.5).abs() > 1e-5
    for mode in ("entropy", "margin"):
        fused = fuse(raw, mode).probability
        assert torch.equal(foreground(fused)[decided], foreground(average)[decided])


def test_temperatures_change_the_mask_against_the_raw_average():
    logits = torch.tensor([[2.0], [-1.5]]).view(2, 1, 1, 1, 1)
    raw = fuse(torch.sigmoid(logits), "average").probability
    temperatures = torch.tensor([4.0, 1.0]).view(2, 1, 1, 1, 1)
    calibrated = torch.sigmoid(logits / temperatures)
    assert foreground(raw).item()
    assert not foreground(fuse(calibrated, "entropy").probability).item()
    # Of the calibrated branches, too, entropy and average make the same mask.
    assert not foreground(fuse(calibrated, "average").probability).item()


def test_evidence_changes_the_mask():
    probabilities = torch.tensor([0.8, 0.3]).view(2, 1, 1, 1, 1)
    assert foreground(fuse(probabilities, "entropy").probability).item()
    doubted = torch.tensor([0.01, 1.0]).view(2, 1, 1, 1, 1)
    assert not foreground(fuse(probabilities, "entropy", evidence=doubted).probability).item()


@settings(max_examples=60, deadline=None)
@given(probabilities=npst.arrays(np.float64, (3, 4, 1, 2, 2), elements=st.floats(0, 1)))
def test_an_image_never_depends_on_its_batch(probabilities):
    raw = torch.from_numpy(probabilities)
    for mode in ("average", "entropy", "margin"):
        whole = fuse(raw, mode)
        for image in range(4):
            one = slice(image, image + 1)
            alone = fuse(raw[:, one], mode)
            assert torch.equal(alone.probability, whole.probability[one])
            assert torch.equal(alone.weights, whole.weights[:, one])


@settings(max_examples=100, deadline=None)
@given(probabilities=BRANCHES)
def test_fused_lies_between_the_branches_and_weights_add_up(probabilities):
    raw = torch.from_numpy(probabilities)
    for mode in ("average", "entropy", "margin"):
        fused = fuse(raw, mode)
        torch.testing.assert_close(fused.weights.sum(dim=0), torch.ones_like(fused.probability))
        assert (fused.probability >= raw.amin(dim=0) - 1e-12).all()
        assert (fused.probability <= raw.amax(dim=0) + 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(probability=st.floats(0, 1))
def test_entropy_confidence_is_one_minus_entropy(probability):
    entropy = -sum(p * math.log(p) for p in (probability, 1 - probability) if p > 0)
    found = entropy_confidence(torch.tensor(probability, dtype=torch.float64)).item()
    assert found == pytest.approx(1 - entropy / math.log(2), abs=1e-12)


def test_entropy_confidence_keeps_its_digits_near_a_half():
    single = entropy_confidence(torch.tensor(0.5 + 2.0**-12))
    double = entropy_confidence(torch.tensor(0.5 + 2.0**-12, dtype=torch.float64))
    assert single.item() == pytest.approx(double.item(), rel=2e-3)
    assert single > 0


def test_where_nobody_knows_branches_count_alike():
    fused = fuse(torch.full((2, 1, 1, 2, 2), 0.5), "entropy")
    assert (fused.weights == 0.5).all()
    assert (fused.probability == 0.5).all()


def test_half_precision_is_raised():
    assert fuse(torch.rand(2, 1, 1, 3, 3).bfloat16(), "margin").probability.dtype == torch.float32


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown fusion mode"):
        fuse(torch.rand(2, 1, 1, 2, 2), "vote")
    with pytest.raises(ValueError, match="branches"):
        fuse(torch.rand(3), "average")
