"""Which frames share a batch: P videos × K frames, or frames drawn evenly (Corrections 3).

The frame gap of MT-NXent can only spare neighbours that stand in one batch. Drawn evenly from hundreds of
videos, next to none do; drawn as K frames of each of P videos, every anchor has some. An order is a function
of seed and epoch alone, so a run that resumes inside an epoch walks the same one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.errors import CrossprobeError
from crossprobe.training.counter_random import permutation
from crossprobe.training.sampler import Batch

_ROW_STREAM, _VIDEO_STREAM, _SURPLUS_STREAM, _BATCH_STREAM = 0x5A11, 0x5A12, 0x5A13, 0x5A14


class FrameSamplerSettings(BaseModel):
    """How batches of a contrastive run are put together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["videos", "uniform"] = Field(
        "videos",
        description="videos: several frames of each video in a batch; uniform: any frames, as in the paper",
    )
    frames_per_video: int = Field(4, ge=1, description="Frames of one video in a batch, in mode videos")


class MaskedPairStatistics(NamedTuple):
    """What a frame gap finds to leave out in the batches of a sampler.

    Attributes:
        masked_pairs_per_anchor: Mean number of negatives left out.
        negatives_per_anchor: Mean number that stay.
        masked_share: The first as a share of both; 0 where a batch has no pairs.
        videos_per_batch: Mean number of different videos in a batch.
    """

    masked_pairs_per_anchor: float
    negatives_per_anchor: float
    masked_share: float
    videos_per_batch: float


class FrameSampler:
    """Deals the rows of a manifest into batches, each row at most once an epoch."""

    def __init__(
        self,
        videos: np.ndarray,
        frames: np.ndarray,
        settings: FrameSamplerSettings,
        batch_size: int,
        seed: int,
    ) -> None:
        """Takes the rows' identities.

        Args:
            videos: int64 [N], which video each row comes from.
            frames: int64 [N], its frame number in the original video.
            settings: Mode and frames a video.
            batch_size: Frames in a batch, over all processes; each gives two views.
            seed: The run's seed.

        Raises:
            CrossprobeError: If there are fewer rows than a batch holds, the arrays differ in length, or the
                frames of a video do not fill a batch evenly.
        """
        self.videos, self.frames = np.asarray(videos, np.int64), np.asarray(frames, np.int64)
        self.settings, self.batch_size, self.seed = settings, batch_size, seed
        self._dealt: tuple[int, np.ndarray] | None = None
        if self.videos.ndim != 1 or self.videos.shape != self.frames.shape:
            raise CrossprobeError(
                f"videos {self.videos.shape} and frames {self.frames.shape} must be vectors of one length"
            )
        if len(self.videos) < batch_size:
            raise CrossprobeError(
                f"{len(self.videos)} frames do not fill one batch of {batch_size}: "
                "lower batch_size or add frames"
            )
        if settings.mode == "videos" and batch_size % settings.frames_per_video:
            raise CrossprobeError(
                f"frames_per_video {settings.frames_per_video} does not divide batch_size {batch_size}"
            )

    def batch(self, step: int) -> Batch:
        """Gives the samples of a step, as the training loop asks for them.

        Args:
            step: Step number, from zero.

        Returns:
            Rows and epochs of `batch_size` samples.
        """
        epoch, number = divmod(step, len(self))
        if self._dealt is None or self._dealt[0] != epoch:
            self._dealt = (epoch, self.batches(epoch))
        rows = torch.from_numpy(self._dealt[1][number].copy())
        return Batch(rows, torch.full_like(rows, epoch), step)

    def __len__(self) -> int:
        """Batches in an epoch; the frames left over, other ones each time, sit it out."""
        return len(self.videos) // self.batch_size

    def batches(self, epoch: int) -> np.ndarray:
        """The rows of every batch of an epoch.

        Args:
            epoch: Pass over the data.

        Returns:
            int64 [batches, batch_size], rows of the arrays given; no row twice.
        """
        if self.settings.mode == "uniform":
            rows = self._permutation(len(self.videos), epoch, _ROW_STREAM)
            return rows[: len(self) * self.batch_size].reshape(len(self), -1)
        return self._deal(self._groups(epoch), epoch)

    def _groups(self, epoch: int) -> np.ndarray:
        """Random groups of K frames of one video [groups, K], video after video in random order.

        The frames a video has beyond a multiple of K are put together, video beside video, behind the full
        groups: without them, videos shorter than K would never be seen.
        """
        size = self.settings.frames_per_video
        rows = self._permutation(len(self.videos), epoch, _ROW_STREAM)
        names, video = np.unique(self.videos, return_inverse=True)
        place_of_video = self._permutation(len(names), epoch, _VIDEO_STREAM)[video]
        # Stable: frames of a video keep their random order.
        rows = rows[np.argsort(place_of_video[rows], kind="stable")]
        place = place_of_video[rows]
        counts = np.bincount(place, minlength=len(names))
        number_in_video = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        in_full_group = number_in_video < (counts - counts % size)[place]
        rows = np.concatenate([rows[in_full_group], rows[~in_full_group]])
        return rows[: len(rows) // size * size].reshape(-1, size)

    def _deal(self, groups: np.ndarray, epoch: int) -> np.ndarray:
        """Deals groups to batches in turn, like cards: neighbours, groups of one video, part ways."""
        count = len(self)
        per_batch = self.batch_size // self.settings.frames_per_video
        # Groups in excess are dropped evenly over the whole row, not from the mixed ones at its end alone.
        surplus = len(groups) - count * per_batch
        if surplus:
            dropped = self._permutation(len(groups), epoch, _SURPLUS_STREAM)[:surplus]
            groups = np.delete(groups, dropped, axis=0)
        dealt = groups.reshape(per_batch, count, -1).swapaxes(0, 1).reshape(count, -1)
        return dealt[self._permutation(count, epoch, _BATCH_STREAM)]

    def _permutation(self, count: int, epoch: int, stream: int) -> np.ndarray:
        return permutation(count, self.seed, epoch, stream).numpy()

    def masked_pairs(self, epoch: int, frame_gap: int) -> MaskedPairStatistics:
        """Counts, for a whole epoch, the negatives that a frame gap leaves out.

        Args:
            epoch: Pass over the data.
            frame_gap: Frames; pairs of one video closer than this (strictly) are left out, in both views.

        Returns:
            Means over anchors and batches.
        """
        batches = self.batches(epoch)
        size = batches.shape[1]
        masked, different = 0, 0
        for rows in batches:
            video, frame = self.videos[rows], self.frames[rows]
            near = np.abs(frame[:, None] - frame[None, :]) < frame_gap
            near &= video[:, None] == video[None, :]
            np.fill_diagonal(near, False)
            masked += 2 * int(near.sum())
            different += len(np.unique(video))
        per_anchor = masked / (len(batches) * size)
        negatives = 2 * (size - 1)
        return MaskedPairStatistics(
            per_anchor, negatives - per_anchor, per_anchor / negatives, different / len(batches)
        )
