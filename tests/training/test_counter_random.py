"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crossprobe.training.counter_random import mix, normal, permutation, random_words, uniform

WORD = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
# The first outputs of SplitMix64 from state 1234567, as its reference implementation prints them.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def unsigned(values: torch.Tensor) -> list[int]:
    return [value & WORD for value in values.flatten().tolist()]


def signed(word: int) -> int:
    word &= WORD
    return word - (1 << 64) if word >> 63 else word


def mix_by_hand(word: int) -> int:
    word &= WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def word_by_hand(seed: int, epoch: int, sample: int, stream: int, position: int) -> int:
    key = mix_by_hand(seed + GAMMA)
    key = mix_by_hand(key + (stream + 1) * GAMMA)
    key = mix_by_hand(key + epoch * GAMMA)
    key = mix_by_hand(key + sample * GAMMA)
    return mix_by_hand(key + (position + 1) * GAMMA)


def test_mix_gives_the_published_sequence():
    states = torch.tensor([signed(1234567 + GAMMA * step) for step in range(1, 6)])
    assert unsigned(mix(states)) == PUBLISHED


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**64),
    epoch=st.integers(0, 2**40),
    sample=st.integers(0, 2**62),
    stream=st.integers(0, 1000),
)
def test_words_match_arbitrary_precision_arithmetic(seed, epoch, sample, stream):
    drawn = unsigned(random_words(3, seed, epoch, torch.tensor([sample]), stream))
    assert drawn == [word_by_hand(seed, epoch, sample, stream, position) for position in range(3)]


def test_fixed_reference_values():
    drawn = uniform(3, seed=7, epoch=2, samples=torch.tensor([0, 11]), stream=5)
    expected = [
        [(word_by_hand(7, 2, sample, 5, position) >> 40) / 2**24 for position in range(3)]
        for sample in (0, 11)
    ]
    assert drawn.tolist() == expected
    # Written out, so that a change of the keys is noticed: it would change every run.
    literal = [
        [0.2894441485404968, 0.04845470190048218, 0.9330745339393616],
        [0.9352266192436218, 0.6857597231864929, 0.2554624080657959],
    ]
    assert drawn.tolist() == literal


@pytest.mark.parametrize("axis", ["positions", "samples", "epochs", "streams", "seeds"])
def test_uniform_along_every_axis(axis):
    count = 40_000
    one = torch.zeros(1, dtype=torch.int64)
    if axis == "positions":
        values = uniform(count, 1, 0, one, 0)[0]
    elif axis == "samples":
        values = uniform(1, 1, 0, torch.arange(count), 0)[:, 0]
    elif axis == "epochs":
        values = uniform(1, 1, torch.arange(count), one.expand(count), 0)[:, 0]
    else:
        by_name = {
            "streams": lambda k: uniform(40, 1, 0, one, k),
            "seeds": lambda k: uniform(40, k, 0, one, 0),
        }
        values = torch.cat([by_name[axis](k)[0] for k in range(1000)])
    values = values.numpy().astype(np.float64)
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    # Neighbours are unrelated: the lag-one correlation lies within four standard errors of nothing.
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(values.size)


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 1}, {"stream": 1}])
def test_changing_one_key_gives_unrelated_numbers(other):
    samples = torch.arange(500)
    key = {"seed": 3, "epoch": 0, "stream": 0}
    first = uniform(64, samples=samples, **key).flatten().numpy()
    second = uniform(64, samples=samples, **(key | other)).flatten().numpy()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    cells, _, _ = np.histogram2d(first, second, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.flatten()).pvalue > 1e-3


def test_keys_do_not_collide_when_their_sums_do():
    numbers = {
        tuple(uniform(2, seed, epoch, torch.tensor([sample]), stream)[0].tolist())
        for seed in range(4)
        for epoch in range(4)
        for sample in range(4)
        for stream in range(4)
    }
    assert len(numbers) == 4**4


def test_every_bit_of_a_word_is_fair():
    words = random_words(5_000, 0, 0, torch.arange(4), 0).flatten()
    ones = torch.stack([(words >> bit) & 1 for bit in range(64)]).double().mean(dim=1)
    assert (ones - 0.5).abs().max() < 5 * 0.5 / np.sqrt(words.numel())


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(list(range(9))), parts=st.integers(1, 9))
def test_numbers_do_not_depend_on_order_or_batch(order, parts):
    samples = torch.arange(100, 109)
    whole = uniform(5, 1, 2, samples, 3)
    shuffled = torch.cat([uniform(5, 1, 2, part, 3) for part in samples[torch.tensor(order)].chunk(parts)])
    assert torch.equal(shuffled, whole[torch.tensor(order)])


def test_a_longer_row_begins_with_the_shorter():
    samples = torch.arange(3)
    assert torch.equal(uniform(9, 1, 2, samples, 3)[:, :4], uniform(4, 1, 2, samples, 3))


def test_epoch_as_a_tensor_gives_the_same_numbers():
    samples = torch.arange(6)
    as_number = uniform(4, 8, 17, samples, 1)
    assert torch.equal(uniform(4, 8, torch.tensor(17), samples, 1), as_number)
    assert torch.equal(uniform(4, 8, torch.full((6,), 17, dtype=torch.int32), samples, 1), as_number)


def test_normal_is_standard_and_finite():
    values = normal(40_000, 1, 0, torch.tensor([5]), 2)[0]
    assert torch.isfinite(values).all()
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    assert values.abs().max() < 5.5


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 300), seed=st.integers(0, 1000))
def test_permutation_holds_every_item_once(count, seed):
    assert permutation(count, seed, 0, 0).sort().values.tolist() == list(range(count))


def test_permutation_is_fair_and_differs_by_epoch():
    orders = [tuple(permutation(3, 0, epoch, 0).tolist()) for epoch in range(1200)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
    assert torch.equal(permutation(50, 1, 2, 3), permutation(50, 1, torch.tensor(2), 3))
    assert not torch.equal(permutation(50, 1, 2, 3), permutation(50, 1, 2, 4))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="integer vector"):
        uniform(3, 0, 0, torch.zeros(2), 0)
    with pytest.raises(ValueError, match="integer vector"):
        uniform(3, 0, 0, torch.zeros(2, 2, dtype=torch.int64), 0)
    with pytest.raises(ValueError, match="width"):
        uniform(0, 0, 0, torch.arange(2), 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_bits_on_the_gpu():
    samples = torch.arange(64)
    assert torch.equal(uniform(97, 3, 4, samples.cuda(), 5).cpu(), uniform(97, 3, 4, samples, 5))
    assert torch.equal(permutation(1000, 3, 4, 5, "cuda").cpu(), permutation(1000, 3, 4, 5))
