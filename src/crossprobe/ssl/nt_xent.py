"""The contrastive loss: NT-Xent, and MT-NXent, which spares neighbouring frames of one video (S3-8).

NT-Xent is SimCLR's (Chen et al., ICML 2020). Frames of one sweep a fraction of a second apart show the same
anatomy, so pushing them apart teaches the wrong thing: the masked temporal form leaves them out of the
denominator. The arithmetic lies in `nt_xent_kernel`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crossprobe.ssl.nt_xent_kernel import NtXentLoss


class NtXentSettings(BaseModel):
    """Which pairs count as negatives, and how sharply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(0.5, gt=0.0, description="Divides the cosine similarities")
    frame_gap: int = Field(
        15, ge=0, description="Frames of one video closer than this are no negatives; 0 gives NT-Xent"
    )
    control: Literal["none", "random_mask"] = Field(
        "none", description="random_mask: leave out as many pairs, but random ones, to see what time is worth"
    )


class NtXentResult(NamedTuple):
    """The loss and what it was computed from.

    Attributes:
        loss: Scalar; its gradient reaches both views, and all rows when anchors are a part of them.
        masked_pairs_per_anchor: Scalar: mean number of negatives left out.
        negatives_per_anchor: Scalar: mean number of negatives that stayed.
    """

    loss: Tensor
    masked_pairs_per_anchor: Tensor
    negatives_per_anchor: Tensor


def mt_nxent(
    first: Tensor,
    second: Tensor,
    video: Tensor,
    frame: Tensor,
    temperature: float = 0.5,
    frame_gap: int = 0,
    *,
    anchors: Tensor | None = None,
    random_mask: Tensor | None = None,
) -> NtXentResult:
    """Pulls the two views of a frame together and pushes them from every frame that shows something else.

    Left out of an anchor's negatives, in both views, is every row of its video fewer than `frame_gap` frames
    away (strictly; frame numbers are those of the original video). The positive always stays.

    Over several processes, gather the four tensors from all of them (embeddings with gradient) and name the
    local rows by `anchors`: the mean of the losses over equal processes is then the loss of the whole batch,
    and so is its gradient.

    Args:
        first: Embeddings of the first views [B, D], not normalised; half precision is raised to float32.
        second: Embeddings of the second views [B, D].
        video: int64 [B], which video a row comes from.
        frame: int64 [B], its number there.
        temperature: Divides the cosine similarities; above 0.
        frame_gap: Frames; 0 leaves nothing out.
        anchors: int64 [A], rows whose views are anchors; None means all.
        random_mask: Control. Uniform numbers [A, B]: each anchor leaves out as many rows as its video would
            make it, but those with the smallest numbers.

    Returns:
        The mean over 2A anchors, and the counts of pairs. With no negative left the loss is 0.

    Raises:
        ValueError: If shapes disagree, or temperature or gap lie outside their range.
    """
    _check(first, second, video, frame, temperature, frame_gap)
    left_out = None if frame_gap == 0 else _left_out(video, frame, frame_gap, anchors)
    if left_out is not None and random_mask is not None:
        left_out = _as_many_at_random(left_out, anchors, random_mask)
    with torch.autocast(first.device.type, enabled=False):
        precision = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
        views = F.normalize(torch.stack([first, second]).to(precision), dim=-1)
        loss = NtXentLoss.apply(views, anchors, left_out, random_mask is None, float(temperature))
    masked = torch.zeros((), device=first.device)
    if left_out is not None:
        # An anchor's own row is left out too, but it holds the anchor and the positive, no negatives.
        masked = 2.0 * (left_out.sum(dtype=torch.float32) / left_out.shape[0] - 1.0)
    return NtXentResult(loss, masked, 2.0 * (first.shape[0] - 1) - masked)


def _check(
    first: Tensor, second: Tensor, video: Tensor, frame: Tensor, temperature: float, frame_gap: int
) -> None:
    if first.dim() != 2 or first.shape != second.shape:
        raise ValueError(
            f"both views must be [B, D] and alike, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if video.shape != first.shape[:1] or frame.shape != first.shape[:1]:
        raise ValueError(
            f"video {tuple(video.shape)} and frame {tuple(frame.shape)} must have one entry for each of "
            f"the {first.shape[0]} rows"
        )
    if not temperature > 0 or frame_gap < 0:
        raise ValueError(
            f"temperature {temperature} must be above 0 and frame_gap {frame_gap} must not be negative"
        )


def _left_out(video: Tensor, frame: Tensor, frame_gap: int, anchors: Tensor | None) -> Tensor:
    """Rows of the anchor's video fewer than `frame_gap` frames away, itself among them: bool [A, B]."""
    anchor_video, anchor_frame = (video, frame) if anchors is None else (video[anchors], frame[anchors])
    near = (anchor_frame[:, None] - frame[None, :]).abs_() < frame_gap
    near &= anchor_video[:, None] == video[None, :]
    return near


def _as_many_at_random(left_out: Tensor, anchors: Tensor | None, random_mask: Tensor) -> Tensor:
    """As many rows for each anchor, but those with the smallest random numbers, itself first among them."""
    if random_mask.shape != left_out.shape:
        raise ValueError(
            f"random_mask must be [anchors, rows] {tuple(left_out.shape)}, got {tuple(random_mask.shape)}"
        )
    own = torch.arange(left_out.shape[0], device=left_out.device) if anchors is None else anchors
    rank = random_mask.scatter(1, own[:, None], -1.0).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return rank < left_out.sum(dim=1, keepdim=True)
