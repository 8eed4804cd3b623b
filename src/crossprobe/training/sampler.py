"""Which samples an optimiser step sees, as a pure function of the step: resuming needs no state."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from crossprobe.training.counter_random import permutation

_ORDER_STREAM = 101


class Batch(NamedTuple):
    """The samples of one step.

    Attributes:
        rows: int64 [B], positions in the training set.
        epochs: int64 [B], how often each position has been seen before; part of the random counter.
    """

    rows: Tensor
    epochs: Tensor


class Sampler(Protocol):
    """Anything that says which samples a step sees."""

    def batch(self, step: int) -> Batch:
        """Gives the samples of a step, counted from zero."""
        ...


class ShuffledSampler:
    """Walks through a fresh permutation each epoch, carrying over where the batch size does not divide.

    Args:
        count: Size of the training set.
        batch_size: Samples a step.
        seed: Seed of the order.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if count < 1:
            raise ValueError(f"a training set needs at least one sample, got {count}")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._cached: tuple[int, Tensor] | None = None

    def batch(self, step: int) -> Batch:
        """Gives the samples of a step.

        Args:
            step: Step number, from zero.

        Returns:
            Rows and epochs of `batch_size` samples.
        """
        position = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = position // self.count
        rows = torch.empty_like(position)
        for epoch in epochs.unique().tolist():
            inside = epochs == epoch
            rows[inside] = self._order(epoch)[position[inside] % self.count]
        return Batch(rows, epochs)

    def _order(self, epoch: int) -> Tensor:
        if self._cached is None or self._cached[0] != epoch:
            self._cached = (epoch, permutation(self.count, self.seed, epoch, _ORDER_STREAM))
        return self._cached[1]
