"""How the contrastive loss is computed: value and gradient together, similarities made once.

For anchor i with similarities s_ij = <u_i, u_j> / T to the keys j that count, positive p and softmax q_ij,
the loss is log sum_j exp(s_ij) - s_ip and its derivative by s_ij is q_ij - [j = p]. Autograd would keep
several matrices of all similarities to say so; both forms below work through them a slab of rows at a time.

- `whole_batch`: every row is an anchor, so exp(s) is symmetric and half of it is enough: one and a half
  matrix products in place of three.
- `some_anchors`: anchors are a part of the rows (several processes), the mask is not symmetric (control), or
  the temperature is so low that exponentials need a shift of their own in each row. Nothing of the size of
  all similarities is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows a slab on a processor: few enough for its cache, many enough that threads seldom wait for one another.
# A GPU takes all that fit.
_CPU_ROWS = 512
_GPU_SIMILARITIES = 1 << 26
# Halves of exp(s) larger than this are not kept: 1 GiB in single precision.
_KEPT_SIMILARITIES = 1 << 28
# exp(-70) times the number of rows is still a normal number in single precision.
_DEEPEST_EXPONENT = 70.0


class NtXentLoss(torch.autograd.Function):
    """The mean loss of unit vectors; the forward pass leaves the gradient behind for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        keys: Tensor,
        anchors: Tensor | None,
        left_out: Tensor | None,
        symmetric: bool,
        temperature: float,
    ) -> Tensor:
        """Computes loss and gradient.

        Args:
            ctx: Keeps the gradient.
            keys: Unit vectors of both views [2, B, D].
            anchors: int64 [A], or None for all rows.
            left_out: bool [A, B], rows that are no negatives in either view, the anchor's own row among them;
                None: its own row only.
            symmetric: Whether `left_out` equals its transpose.
            temperature: Above 0.

        Returns:
            Scalar, mean over 2A anchors.
        """
        gradient = torch.zeros_like(keys) if ctx.needs_input_grad[0] else None
        rows = keys.shape[1]
        with _full_precision():
            shallow = 2.0 / temperature <= _DEEPEST_EXPONENT
            if anchors is None and symmetric and shallow and 2 * rows * rows <= _KEPT_SIMILARITIES:
                total = whole_batch(keys, left_out, temperature, gradient)
            else:
                anchors = torch.arange(rows, device=keys.device) if anchors is None else anchors
                total = some_anchors(keys, anchors, left_out, temperature, gradient)
        anchor_count = 2 * (rows if anchors is None else anchors.shape[0])
        if gradient is not None:
            ctx.save_for_backward(gradient.mul_(1.0 / (temperature * anchor_count)))
        return total / anchor_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Scales the gradient that the forward pass left.

        Args:
            ctx: Holds it.
            *upstream: Gradient of the loss, a scalar.

        Returns:
            The gradient of the keys.
        """
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None, None, None


def whole_batch(keys: Tensor, left_out: Tensor | None, temperature: float, gradient: Tensor | None) -> Tensor:
    """Sum of the losses of all rows of both views, from the upper half of the similarities.

    With E = exp(s - 1/T), zero where a pair does not count, and w = 1 / row sums, the gradient of the
    denominators is (E ∘ (w_i + w_j)) U: one product, since E is symmetric.

    Args:
        keys: Unit vectors [2, B, D].
        left_out: bool [B, B], symmetric and true on its diagonal, or None.
        temperature: At least 2/70, lest exponentials vanish.
        gradient: Zeros [2, B, D]; T times the gradient of the sum is added. None: no gradient.

    Returns:
        Scalar.
    """
    rows, width = keys.shape[1:]
    flat = keys.reshape(2 * rows, width)
    counts = None if left_out is None else left_out.logical_not().to(keys.dtype)
    positive = ((keys[0] * keys[1]).sum(dim=1) - 1.0) / temperature
    positive_share = positive.exp().repeat(2)
    sums = positive_share.clone()
    kept: list[tuple[int, int, Tensor]] = []
    for start, stop in _slabs(rows, keys.device):
        slab = _upper_slab(flat, counts, start, stop, temperature)
        sums[start:stop] += slab.sum(dim=1)
        sums[stop:] += slab[:, stop - start :].sum(dim=0)
        if gradient is not None:
            kept.append((start, stop, slab))
    if gradient is not None:
        flat_gradient, inverse = gradient.view(2 * rows, width), sums.reciprocal()
        while kept:
            start, stop, slab = kept.pop()
            slab *= inverse[start:stop, None] + inverse[None, start:]
            flat_gradient[start:stop].addmm_(slab, flat[start:])
            flat_gradient[stop:].addmm_(slab[:, stop - start :].T, flat[start:stop])
        share = positive_share[:rows] * (inverse[:rows] + inverse[rows:]) - 2.0
        gradient.addcmul_(keys.flip(0), share[None, :, None])
    return sums.log().sum() - 2.0 * positive.sum()


def _slabs(rows: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """Ranges of rows of [first views; second views]; none crosses from one view to the other."""
    height = _CPU_ROWS if device.type == "cpu" else max(1, _GPU_SIMILARITIES // (2 * rows))
    for view_start in (0, rows):
        for start in range(view_start, view_start + rows, height):
            yield start, min(start + height, view_start + rows)


def _upper_slab(flat: Tensor, counts: Tensor | None, start: int, stop: int, temperature: float) -> Tensor:
    """exp(s - 1/T) of rows start..stop against columns start..2B; 0 for self, positive and rows left out."""
    rows = flat.shape[0] // 2
    slab = (flat[start:stop] / temperature) @ flat[start:].T
    slab.sub_(1.0 / temperature).exp_()
    slab.diagonal().zero_()
    if start < rows:
        slab[:, rows:].diagonal().zero_()
    if counts is not None:
        first_row = start % rows
        some = counts[first_row : first_row + stop - start]
        slab[:, : rows - first_row] *= some[:, first_row:]
        if start < rows:
            slab[:, rows - start :] *= some
    return slab


def some_anchors(
    keys: Tensor, anchors: Tensor, left_out: Tensor | None, temperature: float, gradient: Tensor | None
) -> Tensor:
    """Sum of the losses of both views of the anchor rows, each against all rows.

    With E = exp(s - row maximum) and r its row sums, the gradient of the anchors is (E K) / r - K_p and that
    of the keys E^T (A / r) - A_p: E itself is never divided.

    Args:
        keys: Unit vectors [2, B, D].
        anchors: int64 [A].
        left_out: bool [A, B], true at each anchor's own row, or None.
        temperature: Above 0.
        gradient: Zeros [2, B, D]; T times the gradient of the sum is added. None: no gradient.

    Returns:
        Scalar.
    """
    rows = keys.shape[1]
    height = _CPU_ROWS if keys.device.type == "cpu" else max(1, _GPU_SIMILARITIES // (4 * rows))
    total = keys.new_zeros(())
    for start in range(0, anchors.shape[0], height):
        part = slice(start, start + height)
        some = None if left_out is None else left_out[part]
        total += _anchor_slab(keys, anchors[part], some, temperature, gradient)
    return total


def _anchor_slab(
    keys: Tensor, anchors: Tensor, left_out: Tensor | None, temperature: float, gradient: Tensor | None
) -> Tensor:
    """`some_anchors` for as many anchors as are worked on at a time."""
    rows, width = keys.shape[1:]
    count = anchors.shape[0]
    flat = keys.reshape(2 * rows, width)
    # Both views of the anchor rows; the positive of either is the same row in the other view.
    own, positives = torch.cat([anchors, anchors + rows]), torch.cat([anchors + rows, anchors])
    anchor_vectors, positive_vectors = flat[own], flat[positives]
    positive = (anchor_vectors * positive_vectors).sum(dim=1, keepdim=True) / temperature
    weights = (anchor_vectors / temperature) @ flat.T
    if left_out is None:
        weights.scatter_(1, own[:, None], -torch.inf)
    else:
        weights.view(2, count, 2, rows).masked_fill_(left_out[None, :, None, :], -torch.inf)
    weights.scatter_(1, positives[:, None], positive)
    largest = weights.amax(dim=1, keepdim=True)
    weights.sub_(largest).exp_()
    sums = weights.sum(dim=1, keepdim=True)
    if gradient is not None:
        flat_gradient = gradient.view(2 * rows, width)
        flat_gradient.addmm_(weights.T, anchor_vectors / sums)
        flat_gradient.index_add_(0, own, (weights @ flat).div_(sums).sub_(positive_vectors))
        flat_gradient.index_add_(0, positives, anchor_vectors, alpha=-1)
    return (sums.log() + largest - positive).sum()


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products in true float32: at temperature .01 the rounding of TF32 is a tenth of a logit."""
    # Backend by backend: torch's older single switch raises once anyone has used these newer ones.
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
