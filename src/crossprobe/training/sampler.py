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
        step: The optimiser step it belongs to, for tasks that draw a second set of samples beside it.
        piece: Which micro-batch of the step this is.
        pieces: How many micro-batches the step has.
    """

    rows: Tensor
    epochs: Tensor
    step: int = 0
    piece: int = 0
    pieces: int = 1

    def split(self, pieces: int) -> list[Batch]:
        """Cuts a step's batch into micro-batches.

        Args:
            pieces: How many.

        Returns:
            The pieces in order; the batch itself where one is asked for.
        """
        if pieces == 1:
            return [self]
        parts = zip(self.rows.chunk(pieces), self.epochs.chunk(pieces), strict=True)
        return [Batch(rows, epochs, self.step, n, pieces) for n, (rows, epochs) in enumerate(parts)]

    def share(self, rank: int, count: int) -> Batch:
        """Takes one process's part of a micro-batch that several compute together.

        Args:
            rank: Number of the process, from zero.
            count: How many there are; divides the samples.

        Returns:
            Its samples; those of the ranks in order are the micro-batch.
        """
        size = len(self.rows) // count
        part = slice(rank * size, (rank + 1) * size)
        return self._replace(rows=self.rows[part], epochs=self.epochs[part])


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
        return Batch(rows, epochs, step)

    def _order(self, epoch: int) -> Tensor:
        if self._cached is None or self._cached[0] != epoch:
            self._cached = (epoch, permutation(self.count, self.seed, epoch, _ORDER_STREAM))
        return self._cached[1]
