"""How strong the device shift is: settings halfway between two probes."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

Settings = TypeVar("Settings", bound=BaseModel)


def interpolate(start: Settings, end: Settings, severity: float) -> Settings:
    """Moves every number from `start` to `end`; names switch as soon as there is any shift.

    Args:
        start: What severity 0 gives, exactly.
        end: What severity 1 gives, exactly.
        severity: 0 to 1.

    Returns:
        Settings of the same kind; whole numbers are rounded.
    """
    if severity <= 0:
        return start
    if severity >= 1:
        return end
    values = {
        name: _between(getattr(start, name), getattr(end, name), severity)
        for name in type(start).model_fields
    }
    return type(start)(**values)


def _between(start: Any, end: Any, severity: float) -> Any:
    if (
        isinstance(start, tuple)
        and len(start) == len(end)
        and not any(isinstance(x, str) for x in start + end)
    ):
        return tuple(_between(a, b, severity) for a, b in zip(start, end, strict=True))
    if isinstance(start, int) and isinstance(end, int):
        return round(start + severity * (end - start))
    if isinstance(start, float) and isinstance(end, (int, float)):
        return start + severity * (end - start)
    return end
