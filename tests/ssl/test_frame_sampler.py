"""Batches of P videos × K frames: what they hold, and that nothing but seed and epoch decides it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.errors import CrossprobeError
from crossprobe.ssl.frame_sampler import FrameSampler, FrameSamplerSettings
from crossprobe.ssl.nt_xent import mt_nxent


def rows_of(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    videos = np.repeat(np.arange(len(lengths)) * 7 + 3, lengths)
    frames = np.concatenate([np.arange(length) for length in lengths])
    return videos, frames


def sampler(lengths, batch_size=16, frames_per_video=4, mode="videos", seed=0) -> FrameSampler:
    chosen = FrameSamplerSettings(mode=mode, frames_per_video=frames_per_video)
    return FrameSampler(*rows_of(lengths), chosen, batch_size, seed)


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    videos_per_batch=st.integers(1, 5),
    frames_per_video=st.integers(1, 6),
    mode=st.sampled_from(["videos", "uniform"]),
    epoch=st.integers(0, 50),
)
def test_every_row_at_most_once_and_as_many_as_fit(lengths, videos_per_batch, frames_per_video, mode, epoch):
    batch_size = max(2, videos_per_batch * frames_per_video)
    frames_per_video = frames_per_video if batch_size % frames_per_video == 0 else 1
    if sum(lengths) < batch_size:
        with pytest.raises(CrossprobeError, match="lower batch_size"):
            sampler(lengths, batch_size, frames_per_video, mode)
        return
    made = sampler(lengths, batch_size, frames_per_video, mode)
    batches = made.batches(epoch)
    assert batches.shape == (len(made), batch_size)
    assert len(np.unique(batches)) == batches.size
    assert batches.size > sum(lengths) - batch_size
    assert batches.min() >= 0
    assert batches.max() < sum(lengths)


def test_batches_hold_k_frames_of_p_videos():
    made = sampler([40] * 16, batch_size=32, frames_per_video=4)
    for rows in made.batches(3):
        names, counts = np.unique(made.videos[rows], return_counts=True)
        assert len(names) == 8
        assert (counts == 4).all()


def test_a_long_video_does_not_crowd_a_batch():
    made = sampler([200] + [10] * 60, batch_size=32, frames_per_video=4)
    for rows in made.batches(0):
        # 50 groups over 25 batches: two each, and never more.
        assert (made.videos[rows] == 3).sum() <= 8 + 3


def test_frames_of_a_group_come_from_all_over_the_video():
    made = sampler([100] * 8, batch_size=16, frames_per_video=4)
    spread = [np.ptp(made.frames[rows].reshape(4, 4), axis=1).mean() for rows in made.batches(0)]
    assert np.mean(spread) == pytest.approx(60, abs=6)


def test_short_videos_are_seen():
    made = sampler([3] * 40 + [2] * 10, batch_size=20, frames_per_video=4)
    seen = np.unique(made.videos[np.concatenate([made.batches(epoch).ravel() for epoch in range(3)])])
    assert len(seen) == 50


def test_every_row_is_seen_about_as_often():
    made = sampler([5, 9, 23, 31], batch_size=16, frames_per_video=4)
    counts = np.zeros(68)
    for epoch in range(400):
        counts[made.batches(epoch).ravel()] += 1
    assert counts.min() > 0.8 * counts.mean()


@pytest.mark.parametrize("mode", ["videos", "uniform"])
def test_seed_and_epoch_alone_decide(mode):
    made = sampler([30] * 6, mode=mode, seed=5)
    first = made.batches(2)
    made.batches(9)
    assert np.array_equal(made.batches(2), first)
    assert np.array_equal(sampler([30] * 6, mode=mode, seed=5).batches(2), first)
    assert not np.array_equal(made.batches(3), first)
    assert not np.array_equal(sampler([30] * 6, mode=mode, seed=6).batches(2), first)


def test_masked_pairs_are_those_of_the_loss():
    made = sampler([24] * 8, batch_size=16)
    generator = torch.Generator().manual_seed(0)
    masked, negatives = [], []
    for rows in made.batches(1):
        first, second = torch.randn(2, 16, 4, generator=generator)
        video, frame = torch.from_numpy(made.videos[rows]), torch.from_numpy(made.frames[rows])
        result = mt_nxent(first, second, video, frame, 0.5, 10)
        masked.append(result.masked_pairs_per_anchor.item())
        negatives.append(result.negatives_per_anchor.item())
    counted = made.masked_pairs(1, 10)
    assert counted.masked_pairs_per_anchor == pytest.approx(np.mean(masked), rel=1e-6)
    assert counted.negatives_per_anchor == pytest.approx(np.mean(negatives), rel=1e-6)
    assert counted.videos_per_batch == 4
    assert made.masked_pairs(1, 0).masked_share == 0


def test_drawing_by_video_gives_the_gap_something_to_do():
    """At the paper's scale, drawn evenly, the mask hits about a thousandth of the negatives."""
    lengths = [55] * 407
    by_video = sampler(lengths, batch_size=512, mode="videos").masked_pairs(0, 15)
    evenly = sampler(lengths, batch_size=512, mode="uniform").masked_pairs(0, 15)
    assert 0.0005 < evenly.masked_share < 0.002
    assert by_video.masked_pairs_per_anchor > 2 * evenly.masked_pairs_per_anchor


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="does not divide"):
        sampler([20, 20], batch_size=10, frames_per_video=4)
    assert len(sampler([20, 20], batch_size=10, frames_per_video=4, mode="uniform")) == 4
    with pytest.raises(CrossprobeError, match="one length"):
        FrameSampler(np.arange(20), np.arange(19), FrameSamplerSettings(), 4, 0)


def test_a_step_needs_no_history():
    walked, fresh = sampler([24] * 8), sampler([24] * 8)
    steps = [walked.batch(step) for step in range(2 * len(walked) + 3)]
    last = fresh.batch(2 * len(walked) + 2)
    assert last.rows.tolist() == steps[-1].rows.tolist()
    assert set(last.epochs.tolist()) == {2}
    assert steps[0].rows.tolist() == walked.batches(0)[0].tolist()
