"""Every sample is seen once an epoch, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.training.sampler import ShuffledSampler


@given(count=st.integers(1, 40), batch_size=st.integers(1, 17), seed=st.integers(0, 5))
def test_every_sample_once_an_epoch(count, batch_size, seed):
    sampler = ShuffledSampler(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    batches = [sampler.batch(step) for step in range(steps)]
    rows = torch.cat([batch.rows for batch in batches])
    epochs = torch.cat([batch.epochs for batch in batches])
    for epoch in range(3):
        assert sorted(rows[epochs == epoch].tolist())[:count] == list(range(count))


@given(step=st.integers(0, 200))
def test_a_step_needs_no_history(step):
    walked = ShuffledSampler(37, 8, 2)
    for earlier in range(step):
        walked.batch(earlier)
    fresh = ShuffledSampler(37, 8, 2)
    assert torch.equal(walked.batch(step).rows, fresh.batch(step).rows)
    assert torch.equal(walked.batch(step).epochs, fresh.batch(step).epochs)


def test_seeds_differ():
    orders = [ShuffledSampler(100, 100, seed).batch(0).rows.tolist() for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        ShuffledSampler(0, 4, 0)
