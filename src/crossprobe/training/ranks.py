"""What the processes of one training run tell each other; alone, every exchange is the identity.

Gradients pass through `gather` and `sum` as if all processes were one: each gets the gradient of the sum of
all processes' losses. Averaged over the processes afterwards, as the loop does with gradients of weights,
that is the gradient of the mean loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")
_ALONE = ContextVar("alone", default=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Makes `gather` and `sum` the identity for a while, to try what other processes may not reach."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are, on all machines.
        local_rank: Its number on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes for all."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Puts the rows of all processes one below the other, with gradient.

        Args:
            rows: [B, ...], the same shape in every process.

        Returns:
            [count * B, ...], in the order of the ranks; the argument itself if there is one process.
        """
        return rows if self.count == 1 or _ALONE.get() else _Gather.apply(rows, self)

    def sum(self, values: Tensor) -> Tensor:
        """Adds a tensor up over all processes, with gradient.

        Args:
            values: Any shape, the same in every process.

        Returns:
            The sum, of that shape; the argument itself if there is one process.
        """
        return values if self.count == 1 or _ALONE.get() else _Sum.apply(values)

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Deals items out like cards.

        Args:
            items: The same in every process.

        Returns:
            Those of this process.
        """
        return items[self.rank :: self.count]

    def mean(self, value: float, weight: float, device: torch.device) -> float:
        """Averages a number over all processes.

        Args:
            value: This process's number; any where its weight is 0.
            weight: How much it counts, such as the samples it is a mean over.
            device: Where the exchange takes place.

        Returns:
            The weighted mean, the same in every process.
        """
        if self.count == 1:
            return value
        sums = torch.tensor([value * weight if weight else 0.0, weight], dtype=torch.float64, device=device)
        dist.all_reduce(sums)
        return float(sums[0] / sums[1])

    def means(self, values: list[float], device: torch.device) -> list[float]:
        """Averages several numbers over all processes in one exchange.

        Args:
            values: This process's numbers.
            device: Where the exchange takes place.

        Returns:
            The means, the same in every process.
        """
        if self.count == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(sums)
        return (sums / self.count).tolist()

    def largest(self, value: int, device: torch.device) -> int:
        """Gives the largest number that any process names.

        Args:
            value: This process's number.
            device: Where the exchange takes place.

        Returns:
            The largest, the same in every process.
        """
        if self.count == 1:
            return value
        found = torch.tensor(value, dtype=torch.int64, device=device)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their means over all processes.

        Args:
            tensors: Of floating point, the same shapes in every process; changed in place.
        """
        if self.count == 1:
            return
        for tensor in tensors:
            dist.all_reduce(tensor.div_(self.count))


class _Gather(torch.autograd.Function):
    """All rows forward; back, the sum of what all processes want of this one's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.part = slice(ranks.rank * len(rows), (ranks.rank + 1) * len(rows))
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(ranks.count)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        gradient = upstream[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.part], None


class _Sum(torch.autograd.Function):
    """The sum over processes, forward and back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        gradient = upstream[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient
