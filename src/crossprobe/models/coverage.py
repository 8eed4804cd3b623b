"""Which weights of a state dict fit a module: the arithmetic behind loading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

POSITIONS = "position_embeddings"
SHOWN = 3


@dataclass(frozen=True)
class LoadReport:
    """How well a state dict fitted a module.

    Attributes:
        matched: Keys filled, interpolated ones included.
        missing: Keys of the module that the weights do not name.
        unexpected: Weights that the module has no place for.
        mismatched: Keys whose shapes differ, each with both shapes; they are not filled.
        interpolated: Position embeddings resized to the module's grid.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    interpolated: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """Share of the module's keys that were filled, 0 to 1."""
        wanted = len(self.matched) + len(self.missing) + len(self.mismatched)
        return len(self.matched) / wanted if wanted else 0.0

    def summary(self) -> str:
        """One sentence for logs and errors: the share, and the first few keys of each kind of difference."""
        wanted = len(self.matched) + len(self.missing) + len(self.mismatched)
        parts = [f"{len(self.matched)} of {wanted} keys filled ({self.coverage:.1%})"]
        for kind in ("missing", "unexpected", "mismatched", "interpolated"):
            keys = getattr(self, kind)
            if keys:
                more = ", …" if len(keys) > SHOWN else ""
                parts.append(f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{more}")
        if not self.matched:
            parts.append(
                "no key has the same name and shape, so the weights are of another architecture or form"
            )
        elif self.mismatched:
            parts.append("where shapes differ, the weights are of another size of the architecture")
        return "; ".join(parts)


def match_weights(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], LoadReport]:
    """Pairs weights with a module's keys by name and shape.

    Args:
        wanted: The module's own state dict.
        given: The weights offered.

    Returns:
        The weights to load, of the wanted shapes, and the report.
    """
    ready: dict[str, Tensor] = {}
    missing, mismatched, interpolated = [], [], []
    for name, own in wanted.items():
        if name not in given:
            missing.append(name)
            continue
        value = given[name]
        if value.shape != own.shape and _is_position_grid(name, value, own):
            value = interpolate_positions(value, own.shape[1])
            interpolated.append(name)
        if value.shape == own.shape:
            ready[name] = value
        else:
            mismatched.append(f"{name} {list(value.shape)} for {list(own.shape)}")
    unexpected = tuple(name for name in given if name not in wanted)
    report = LoadReport(tuple(ready), tuple(missing), unexpected, tuple(mismatched), tuple(interpolated))
    return ready, report


def interpolate_positions(positions: Tensor, count: int) -> Tensor:
    """Resizes learnt positions to another square grid, bicubic, as the vision transformer does.

    Args:
        positions: [1, n*n, D], in row order.
        count: Positions wanted, a square number.

    Returns:
        [1, count, D] of the same dtype.
    """
    old, new = math.isqrt(positions.shape[1]), math.isqrt(count)
    grid = positions.float().transpose(1, 2).unflatten(2, (old, old))
    # With antialias the kernel also reproduces straight lines, which PyTorch's plain bicubic one does not.
    resized = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False, antialias=True)
    return resized.flatten(2).transpose(1, 2).to(positions.dtype)


def _is_position_grid(name: str, value: Tensor, own: Tensor) -> bool:
    if name.rpartition(".")[2] != POSITIONS or value.ndim != 3 or value.shape[2] != own.shape[2]:
        return False
    return all(math.isqrt(count) ** 2 == count for count in (value.shape[1], own.shape[1]))
