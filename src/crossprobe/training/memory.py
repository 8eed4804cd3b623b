"""Steps that fit into memory: in how many pieces a batch is computed, and whether they were too few."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import nn

log = logging.getLogger(__name__)

# What torch's CPU allocator says; it raises a plain RuntimeError.
_CPU_MESSAGES = ("DefaultCPUAllocator: not enough memory", "DefaultCPUAllocator: can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tells an allocation that failed from every other error.

    Args:
        error: What was raised.

    Returns:
        True for torch's error on an accelerator and for its text on a CPU.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


def pieces_for(samples: int, least: int, most_at_once: int | None) -> int:
    """Chooses the number of equal pieces.

    Args:
        samples: Samples of a step that one process computes.
        least: Fewest pieces, a divisor of `samples`.
        most_at_once: Most samples in a piece; None: any number.

    Returns:
        The smallest divisor of `samples` from `least` on whose pieces are small enough.
    """
    largest = samples if most_at_once is None else max(1, most_at_once)
    return next(count for count in _divisors(samples) if count >= least and samples // count <= largest)


def more_pieces(samples: int, pieces: int) -> int | None:
    """Cuts pieces at least in half.

    Args:
        samples: Samples of a step that one process computes.
        pieces: In how many pieces they were computed.

    Returns:
        The smallest divisor of `samples` that is twice as large or more; None if a piece is one sample.
    """
    return next((count for count in _divisors(samples) if count >= 2 * pieces), None)


def fewest_pieces_that_fit(
    samples: int, least: int, attempt: Callable[[int], None], agree: Callable[[int], int] = int
) -> int:
    """Finds the largest micro-batch by trial, largest first.

    Args:
        samples: Samples of a step that one process computes.
        least: Fewest pieces to try.
        attempt: Computes one piece of a step cut into so many; raises when memory runs out.
        agree: Gives the largest of what all processes say, each after its own attempt: 1 where it failed.

    Returns:
        The number of pieces; one sample a piece where not even that fits, so that the step itself says so.
    """
    for count in _divisors(samples):
        if count < least:
            continue
        failed = False
        try:
            attempt(count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        if not agree(int(failed)):
            return count
        release()
        log.info("a micro-batch of %d does not fit into memory", samples // count)
    return samples


def release() -> None:
    """Gives memory that torch keeps for later back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def optimiser_bytes(module: nn.Module, name: str) -> int:
    """Estimates what an optimiser will keep once it has made its first step.

    Args:
        module: What it trains.
        name: Its rule.

    Returns:
        Bytes.
    """
    weights = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    return weights * (1 if name == "sgd" else 2)


def _divisors(number: int) -> list[int]:
    return [count for count in range(1, number + 1) if number % count == 0]
