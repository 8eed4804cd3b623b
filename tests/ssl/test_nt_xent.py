"""The contrastive loss against the public numbers, sums written out, autograd and several processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.ssl import nt_xent_kernel
from crossprobe.ssl.nt_xent import NtXentSettings, mt_nxent


def by_hand(first, second, video, frame, temperature, gap, anchors=None):
    """The loss as the paper's text reads, one pair at a time; also the mean number of pairs left out."""
    rows = len(first)
    vectors = [row / row.norm() for row in torch.cat([first, second])]
    video, frame = video.tolist() * 2, frame.tolist() * 2
    losses, masked = [], 0
    for i in range(2 * rows):
        if anchors is not None and i % rows not in anchors:
            continue
        positive = (i + rows) % (2 * rows)
        terms = []
        for j in range(2 * rows):
            if j == i:
                continue
            if j != positive and video[i] == video[j] and abs(frame[i] - frame[j]) < gap:
                masked += 1
                continue
            terms.append(torch.dot(vectors[i], vectors[j]) / temperature)
        positive_term = torch.dot(vectors[i], vectors[positive]) / temperature
        losses.append(torch.logsumexp(torch.stack(terms), dim=0) - positive_term)
    return torch.stack(losses).mean(), masked / len(losses)


def plain(first, second, left_out, temperature):
    """The usual form over a full mask of rows, for autograd to differentiate."""
    rows = len(first)
    vectors = F.normalize(torch.cat([first, second]), dim=1)
    mask, index = left_out.repeat(2, 2), torch.arange(2 * rows)
    positive = (index + rows) % (2 * rows)
    mask[index, index], mask[index, positive] = True, False
    return F.cross_entropy((vectors @ vectors.T / temperature).masked_fill(mask, -torch.inf), positive)


def example(rows, width, videos, frames, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(rows, width, generator=generator, dtype=dtype)
    second = first + torch.randn(rows, width, generator=generator, dtype=dtype)
    video = torch.randint(0, videos, (rows,), generator=generator)
    frame = torch.randint(0, frames, (rows,), generator=generator)
    return first, second, video, frame


def gradients(loss_of, first, second):
    first, second = first.clone().requires_grad_(), second.clone().requires_grad_()
    loss_of(first, second).backward()
    return first.grad, second.grad


def test_public_loss_at_every_gap_and_temperature(golden):
    reference = golden("mtnxent.npz")
    first, second = (torch.from_numpy(reference[name]).double() for name in ("z1", "z2"))
    video, frame = (torch.from_numpy(reference[name]) for name in ("video_id", "frame"))
    for row, gap in enumerate(reference["gaps"].tolist()):
        for column, temperature in enumerate(reference["temps"].tolist()):
            result = mt_nxent(first, second, video, frame, temperature, gap)
            expected = reference["loss_float64"][row, column]
            assert result.loss.dtype == torch.float64
            assert result.loss.item() == pytest.approx(expected, abs=1e-9)
            single = mt_nxent(first.float(), second.float(), video, frame, temperature, gap).loss
            assert single.item() == pytest.approx(reference["loss"][row, column], rel=1e-5, abs=1e-5)
        # The public mask marks the 2B self pairs as well.
        masked = (reference["masked_pairs"][row] - 48) / 48
        assert result.masked_pairs_per_anchor.item() == pytest.approx(masked)
        assert result.negatives_per_anchor.item() == pytest.approx(46 - masked)


def test_public_simclr_is_gap_zero(golden):
    reference = golden("mtnxent.npz")
    first, second = (torch.from_numpy(reference[name]) for name in ("z1", "z2"))
    video, frame = (torch.from_numpy(reference[name]) for name in ("video_id", "frame"))
    losses = [mt_nxent(first, second, video, frame, t, 0).loss.item() for t in reference["temps"].tolist()]
    np.testing.assert_allclose(losses, reference["simclr_loss_by_temp"], rtol=1e-5, atol=1e-5)


def test_public_gradients(golden):
    reference = golden("mtnxent.npz")
    video, frame = (torch.from_numpy(reference[name]) for name in ("video_id", "frame"))
    found = gradients(
        lambda first, second: mt_nxent(first, second, video, frame, 0.5, 15).loss,
        *(torch.from_numpy(reference[name]) for name in ("z1", "z2")),
    )
    for gradient, name in zip(found, ("grad_z1_gap15_T05", "grad_z2_gap15_T05"), strict=True):
        np.testing.assert_allclose(gradient.numpy(), reference[name], rtol=1e-4, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    videos=st.integers(1, 4),
    gap=st.integers(0, 12),
    temperature=st.sampled_from([0.01, 0.1, 0.5, 2.0]),
    seed=st.integers(0, 1000),
)
def test_matches_the_sum_written_out(rows, videos, gap, temperature, seed):
    first, second, video, frame = example(rows, 5, videos, 10, seed)
    expected, masked = by_hand(first, second, video, frame, temperature, gap)
    result = mt_nxent(first, second, video, frame, temperature, gap)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)
    assert result.masked_pairs_per_anchor.item() == pytest.approx(masked)
    assert result.negatives_per_anchor.item() == pytest.approx(2 * rows - 2 - masked)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("gap", [0, 4, 1000])
@pytest.mark.parametrize("slab_rows", [3, 256])
def test_gradient_is_that_of_autograd(monkeypatch, temperature, gap, slab_rows):
    monkeypatch.setattr(nt_xent_kernel, "_CPU_ROWS", slab_rows)
    first, second, video, frame = example(14, 6, 3, 12)
    same = (video[:, None] == video) & ((frame[:, None] - frame).abs() < gap)
    for anchors in (None, torch.arange(14)):
        found = gradients(
            lambda a, b, anchors=anchors: (
                3.0 * mt_nxent(a, b, video, frame, temperature, gap, anchors=anchors).loss
            ),
            first,
            second,
        )
        wanted = gradients(lambda a, b: 3.0 * plain(a, b, same, temperature), first, second)
        for gradient, expected in zip(found, wanted, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_large_single_precision_batch_has_the_gradient_of_double():
    first, second, video, frame = example(300, 16, 40, 60, dtype=torch.float32)
    for temperature in (0.05, 0.5):

        def loss_of(a, b, temperature=temperature):
            return mt_nxent(a, b, video, frame, temperature, 15).loss

        single, double = (
            gradients(loss_of, first, second),
            gradients(loss_of, first.double(), second.double()),
        )
        for low, high in zip(single, double, strict=True):
            torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-7)


def test_the_gap_is_strict_and_in_original_frame_numbers():
    first, second, _, _ = example(2, 4, 1, 1)
    video = torch.zeros(2, dtype=torch.int64)

    def masked(distance, gap):
        return mt_nxent(
            first, second, video, torch.tensor([7, 7 + distance]), 0.5, gap
        ).masked_pairs_per_anchor

    assert masked(14, 15) == 2
    assert masked(15, 15) == 0
    assert masked(0, 1) == 2
    assert masked(0, 0) == 0
    other_video = mt_nxent(first, second, torch.tensor([0, 1]), torch.tensor([7, 7]), 0.5, 15)
    assert other_video.masked_pairs_per_anchor == 0


@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_no_negatives_left_costs_nothing(temperature):
    first, second, video, frame = example(6, 4, 1, 5, dtype=torch.float32)
    first.requires_grad_()
    result = mt_nxent(first, second, video, frame, temperature, 1000)
    result.loss.backward()
    assert result.loss.item() == pytest.approx(0.0, abs=1e-6)
    assert result.negatives_per_anchor == 0
    assert first.grad.abs().max() < 1e-5


def test_public_case_without_negatives(golden):
    reference = golden("mtnxent.npz")
    first, second = (torch.from_numpy(reference[name]).double() for name in ("z1", "z2"))
    one_video, frame = torch.zeros(24, dtype=torch.int64), torch.from_numpy(reference["frame"])
    loss = mt_nxent(first, second, one_video, frame, 0.5, 1000).loss.item()
    assert loss == pytest.approx(float(reference["loss_single_video_gap1000_T05"]), abs=1e-12)


@pytest.mark.parametrize("gap", [0, 6])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_together_are_the_whole_batch(gap, processes):
    first, second, video, frame = example(12, 5, 3, 20)
    parts = torch.randperm(12, generator=torch.Generator().manual_seed(0)).chunk(processes)

    def together(a, b):
        losses = [mt_nxent(a, b, video, frame, 0.5, gap, anchors=part).loss for part in parts]
        return torch.stack(losses).mean()

    def whole(a, b):
        return mt_nxent(a, b, video, frame, 0.5, gap).loss

    assert together(first, second).item() == pytest.approx(whole(first, second).item(), rel=1e-12)
    found, wanted = gradients(together, first, second), gradients(whole, first, second)
    for gradient, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    part = parts[-1]
    result = mt_nxent(first, second, video, frame, 0.5, gap, anchors=part)
    expected, masked = by_hand(first, second, video, frame, 0.5, gap, anchors=part.tolist())
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert result.masked_pairs_per_anchor.item() == pytest.approx(masked)


def test_random_control_leaves_out_as_many_but_others():
    first, second, video, frame = example(40, 5, 4, 30)
    generator = torch.Generator().manual_seed(1)
    numbers = torch.rand(40, 40, generator=generator)
    timed = mt_nxent(first, second, video, frame, 0.5, 8)
    control = mt_nxent(first, second, video, frame, 0.5, 8, random_mask=numbers)
    assert timed.masked_pairs_per_anchor > 1
    assert control.masked_pairs_per_anchor == timed.masked_pairs_per_anchor
    assert control.loss != timed.loss
    # Written out: each row drops its smallest numbers, itself aside.
    same = (video[:, None] == video) & ((frame[:, None] - frame).abs() < 8)
    dropped = torch.zeros(40, 40, dtype=torch.bool)
    for row in range(40):
        others = sorted((j for j in range(40) if j != row), key=lambda j, row=row: numbers[row, j].item())
        dropped[row, others[: int(same[row].sum()) - 1]] = True
    expected = plain(first, second, dropped, 0.5)
    assert control.loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_single_precision_inside_autocast():
    first, second, video, frame = example(16, 8, 4, 30, dtype=torch.float32)
    outside = mt_nxent(first.bfloat16(), second.bfloat16(), video, frame, 0.1, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mt_nxent(first.bfloat16(), second.bfloat16(), video, frame, 0.1, 10)
    assert inside.loss.dtype == torch.float32
    assert torch.equal(inside.loss, outside.loss)


@pytest.mark.parametrize("wanted", ["highest", "high", "medium"])
def test_precision_setting_of_the_caller_is_put_back(wanted):
    before = torch.get_float32_matmul_precision()
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    try:
        torch.set_float32_matmul_precision(wanted)
        chosen = [backend.fp32_precision for backend in backends]
        mt_nxent(*example(4, 3, 2, 5), 0.5, 2)
        assert [backend.fp32_precision for backend in backends] == chosen
        assert torch.get_float32_matmul_precision() == wanted
    finally:
        torch.set_float32_matmul_precision(before)


def test_low_precision_products_do_not_reach_the_loss():
    first, second, video, frame = example(64, 32, 8, 30, dtype=torch.float32)
    before = torch.backends.mkldnn.matmul.fp32_precision
    exact = mt_nxent(first, second, video, frame, 0.05, 10).loss
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        assert torch.equal(mt_nxent(first, second, video, frame, 0.05, 10).loss, exact)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def test_identical_views_of_orthogonal_rows():
    rows = torch.eye(4, dtype=torch.float64)
    index = torch.arange(4)
    loss = mt_nxent(rows, rows, index, index, 0.5, 0).loss.item()
    assert loss == pytest.approx(math.log(math.exp(2.0) + 6.0) - 2.0)


def test_without_gradient_nothing_is_kept():
    result = mt_nxent(*example(4, 3, 2, 5), 0.5, 2)
    assert not result.loss.requires_grad


def test_wrong_arguments_are_refused():
    first, second, video, frame = example(4, 3, 2, 5)
    with pytest.raises(ValueError, match="alike"):
        mt_nxent(first, second[:3], video, frame)
    with pytest.raises(ValueError, match="one entry"):
        mt_nxent(first, second, video[:3], frame)
    with pytest.raises(ValueError, match="temperature"):
        mt_nxent(first, second, video, frame, temperature=0.0)
    with pytest.raises(ValueError, match="random_mask"):
        mt_nxent(first, second, video, frame, frame_gap=2, random_mask=torch.rand(3, 4))
    with pytest.raises(ValueError, match="temperature"):
        NtXentSettings(temperature=-1)
