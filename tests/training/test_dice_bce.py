"""DiceBCE against the public code's numbers, a hand-written oracle and its own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.training.dice_bce import DiceBceSettings, dice_bce, dice_loss

PUBLIC = DiceBceSettings.public_code().model_dump()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def logits_of(probability: np.ndarray) -> torch.Tensor:
    """The logits in double; ±100 stands for hard 0 and 1, where the public code clamps its logs."""
    return torch.logit(torch.from_numpy(probability).double()).clamp(-100, 100)


def by_hand(logits: torch.Tensor, target: torch.Tensor, smooth: float, per_sample: bool) -> float:
    entropy, dices = [], []
    groups = zip(logits, target, strict=True) if per_sample else [(logits, target)]
    for group_logits, group_target in groups:
        overlap = area = positives = 0.0
        for logit, truth in zip(
            group_logits.flatten().tolist(), group_target.flatten().tolist(), strict=True
        ):
            probability = 1 / (1 + math.exp(-logit))
            entropy.append(-truth * math.log(probability) - (1 - truth) * math.log(1 - probability))
            overlap += probability * truth
            area += probability + truth
            positives += truth
        dices.append(1 - (2 * overlap + smooth) / (area + smooth) if smooth or positives else 0.0)
    return sum(entropy) / len(entropy) + sum(dices) / len(dices)


def test_public_numbers(golden):
    reference = golden("dicebce_metrics.npz")
    probability, target = reference["prob"], torch.from_numpy(reference["target"]).double()
    logits = logits_of(probability)
    assert dice_bce(logits, target, **PUBLIC).item() == pytest.approx(float(reference["batch4"]), rel=1e-5)
    assert dice_loss(logits, target, **PUBLIC).item() == pytest.approx(
        float(reference["batch4_dice"]), rel=1e-5
    )
    for image in range(4):
        one = slice(image, image + 1)
        total = dice_bce(logits[one], target[one], **PUBLIC).item()
        dice = dice_loss(logits[one], target[one], **PUBLIC).item()
        assert total == pytest.approx(float(reference[f"img{image}"]), rel=1e-5)
        assert dice == pytest.approx(float(reference[f"img{image}_dice"]), rel=1e-5, abs=1e-12)
        assert total - dice == pytest.approx(float(reference[f"img{image}_bce"]), rel=1e-5)


def test_public_gradient(golden):
    reference = golden("dicebce_metrics.npz")
    target = torch.from_numpy(reference["target"]).double()
    logits = logits_of(reference["prob"]).requires_grad_()
    dice_bce(logits, target, **PUBLIC).backward()
    probability = reference["prob"].astype(np.float64)
    through_sigmoid = reference["grad_batch4"] * probability * (1 - probability)
    np.testing.assert_allclose(logits.grad.numpy(), through_sigmoid, rtol=1e-4, atol=1e-8)


def test_hard_wrong_answers_cost_what_the_clamped_logs_say(golden):
    reference = golden("dicebce_metrics.npz")
    target = torch.from_numpy(reference["target"]).double()[:3]
    wrong = logits_of(1.0 - target.numpy())
    assert dice_bce(wrong, target, **PUBLIC).item() == pytest.approx(float(reference["hard01_mismatch"]))


def test_smoothed_dice_of_the_paper(golden):
    reference = golden("dicebce_metrics.npz")
    target = torch.from_numpy(reference["target"]).double()
    smoothed = dice_loss(logits_of(reference["prob"]), target, smooth=1.0, per_sample=False).item()
    assert smoothed == pytest.approx(float(reference["paper_formula_dice_smooth1_batch4"]), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    smooth=st.sampled_from([0.0, 1.0, 3.5]),
    per_sample=st.booleans(),
    share=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_matches_the_sum_written_out(seed, smooth, per_sample, share):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 1, 4, 5, generator=generator, dtype=torch.float64) * 4
    target = (torch.rand(3, 1, 4, 5, generator=generator) < share).double()
    expected = by_hand(logits, target, smooth, per_sample)
    assert dice_bce(logits, target, smooth, per_sample).item() == pytest.approx(expected, rel=1e-9)


def test_gradient_is_the_numerical_one():
    logits = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(2, 1, 3, 3) < 0.5).double()
    assert torch.autograd.gradcheck(lambda values: dice_bce(values, target), logits)


def test_by_default_an_image_counts_the_same_in_any_batch():
    logits, target = torch.randn(6, 1, 8, 8) * 3, (torch.rand(6, 1, 8, 8) < 0.3).float()
    alone = torch.stack([dice_bce(logits[i : i + 1], target[i : i + 1]) for i in range(6)]).mean()
    torch.testing.assert_close(dice_bce(logits, target), alone)
    flattened = dice_bce(logits, target, **PUBLIC)
    assert abs(flattened - dice_bce(logits[:3], target[:3], **PUBLIC)) > 1e-4


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_saturated_wrong_pixels_keep_a_finite_gradient(size):
    target = torch.tensor([[[[1.0, 0.0]]]])
    logits = ((0.5 - target) * 2 * size).requires_grad_()
    loss = dice_bce(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad.flatten().tolist() == pytest.approx([-0.5, 0.5], abs=1e-4)


def test_single_precision_inside_autocast():
    logits, target = torch.randn(2, 1, 16, 16) * 5, (torch.rand(2, 1, 16, 16) < 0.5).float()
    outside = dice_bce(logits.bfloat16(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = dice_bce(logits.bfloat16(), target)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="channel axis"):
        dice_bce(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
