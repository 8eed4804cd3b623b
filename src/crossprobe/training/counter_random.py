"""Random numbers as a function of (seed, epoch, sample, stream), with no state to carry or restore.

A number is the hash of a counter, so what a sample draws depends neither on its place in a batch, nor on how
many processes share the work, nor on what was drawn before: a killed run resumes with the same augmentations.
The hash is the output function of SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) in wrapping 64-bit integer arithmetic, hence the same bits on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_WORD = 0xFFFFFFFFFFFFFFFF
_GAMMA = 0x9E3779B97F4A7C15
_FIRST_FACTOR = 0xBF58476D1CE4E5B9
_SECOND_FACTOR = 0x94D049BB133111EB


def _signed(word: int) -> int:
    """The two's complement reading of a 64-bit word: torch has no unsigned 64-bit arithmetic."""
    word &= _WORD
    return word - (1 << 64) if word >> 63 else word


def _xor_shifted_(values: Tensor, bits: int) -> Tensor:
    """`values ^= values >>> bits` in place; torch's >> copies the sign bit, so the copies are masked away."""
    shifted = values >> bits
    shifted &= (1 << (64 - bits)) - 1
    values ^= shifted
    return values


def mix(values: Tensor) -> Tensor:
    """Scrambles 64-bit words, one to one: different words never give the same hash.

    Args:
        values: int64, any shape, read as unsigned words.

    Returns:
        int64 of the same shape; the argument is left as it was.
    """
    words = _xor_shifted_(values.clone(), 30)
    words *= _signed(_FIRST_FACTOR)
    _xor_shifted_(words, 27)
    words *= _signed(_SECOND_FACTOR)
    return _xor_shifted_(words, 31)


def _mix_word(word: int) -> int:
    """`mix` for one Python integer, so that host-side keys cost no launch on the device."""
    word &= _WORD
    word = ((word ^ (word >> 30)) * _FIRST_FACTOR) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND_FACTOR) & _WORD
    return word ^ (word >> 31)


def _keys(seed: int, epoch: int | Tensor, samples: Tensor, stream: int) -> Tensor:
    """One key a sample: int64 [B]. Each part is hashed before the next joins, so that sums cannot collide."""
    host_key = _mix_word(_mix_word(seed + _GAMMA) + (stream + 1) * _GAMMA)
    if isinstance(epoch, Tensor):
        epoch_keys = mix(epoch.to(samples.device, torch.int64) * _signed(_GAMMA) + _signed(host_key))
        return mix(samples * _signed(_GAMMA) + epoch_keys)
    return mix(samples * _signed(_GAMMA) + _signed(_mix_word(host_key + epoch * _GAMMA)))


def random_words(width: int, seed: int, epoch: int | Tensor, samples: Tensor, stream: int) -> Tensor:
    """Draws 64 random bits for every (sample, position).

    Args:
        width: How many words each sample draws; 1 or more.
        seed: The run's seed; any integer.
        epoch: Pass over the data, as a number or an integer tensor (scalar or [B]).
        samples: Integer identities of the samples [B], such as rows of a frame store.
        stream: Which use the numbers are for; uses that must not be correlated take different streams.

    Returns:
        int64 [B, width] on the device of `samples`; words within one row are all different.

    Raises:
        ValueError: If `samples` is not a vector of integers or `width` is below 1.
    """
    if samples.dim() != 1 or samples.is_floating_point() or samples.dtype == torch.bool:
        raise ValueError(
            f"samples must be an integer vector [B], got {samples.dtype} of shape {tuple(samples.shape)}"
        )
    if width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")
    keys = _keys(seed, epoch, samples.to(torch.int64), stream)
    counters = torch.arange(1, width + 1, device=samples.device, dtype=torch.int64) * _signed(_GAMMA)
    return mix(keys[:, None] + counters[None, :])


def uniform(width: int, seed: int, epoch: int | Tensor, samples: Tensor, stream: int) -> Tensor:
    """Draws uniform numbers for every sample of a batch, the same bits on every device.

    Args:
        width: How many numbers each sample draws; 1 or more.
        seed: The run's seed; any integer.
        epoch: Pass over the data, as a number or an integer tensor (scalar or [B]).
        samples: Integer identities of the samples [B], such as rows of a frame store.
        stream: Which use the numbers are for; uses that must not be correlated take different streams.

    Returns:
        float32 [B, width] in [0, 1), on the device of `samples`: multiples of 2^-24, all of them exact.

    Raises:
        ValueError: If `samples` is not a vector of integers or `width` is below 1.
    """
    words = random_words(width, seed, epoch, samples, stream)
    # The upper 24 bits fill a float32 mantissa exactly, so no rounding can reach 1.
    words >>= 40
    words &= 0xFFFFFF
    return words.to(torch.float32).mul_(2.0**-24)


def normal(width: int, seed: int, epoch: int | Tensor, samples: Tensor, stream: int) -> Tensor:
    """Draws standard normal numbers by inverting the distribution function of `uniform`'s.

    Args:
        width: How many numbers each sample draws; 1 or more.
        seed: The run's seed; any integer.
        epoch: Pass over the data, as a number or an integer tensor (scalar or [B]).
        samples: Integer identities of the samples [B].
        stream: Which use the numbers are for.

    Returns:
        float32 [B, width], finite, |value| < 5.5. Devices may differ in the last bits of the inverse.

    Raises:
        ValueError: If `samples` is not a vector of integers or `width` is below 1.
    """
    words = random_words(width, seed, epoch, samples, stream)
    words >>= 41
    words &= 0x7FFFFF
    # 23 bits and half a step: symmetric about 0 and never at an end, where the inverse is infinite.
    symmetric = words.to(torch.float32).add_(0.5).mul_(2.0**-22).sub_(1.0)
    return torch.erfinv(symmetric).mul_(math.sqrt(2.0))


def permutation(
    count: int, seed: int, epoch: int | Tensor, stream: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Shuffles 0..count-1 by the order of their hashes, which are all different.

    Args:
        count: How many items to order; 0 or more.
        seed: The run's seed; any integer.
        epoch: Pass over the data, as a number or a scalar integer tensor.
        stream: Which use the order is for.
        device: Where the result lies; the order is the same on all of them.

    Returns:
        int64 [count].
    """
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=device)
    one_sample = torch.zeros(1, dtype=torch.int64, device=device)
    return torch.argsort(random_words(count, seed, epoch, one_sample, stream)[0])
