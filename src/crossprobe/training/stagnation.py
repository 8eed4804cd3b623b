"""What follows when a validation figure no longer falls: ending early, and a lower learning rate.

Both are functions of the figures so far, which a run keeps in its history, so a resumed run decides alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossprobe.training.settings import EarlyStoppingSettings, PlateauSettings


def has_stagnated(figures: Sequence[float], settings: EarlyStoppingSettings | None) -> bool:
    """Says whether a run should end now.

    Args:
        figures: Validation figures so far, lower is better.
        settings: When to end; None never does.

    Returns:
        Whether the last `patience` figures all failed to fall below the best before them by `min_delta`.
    """
    if settings is None:
        return False
    best, waited = float("inf"), 0
    for figure in figures:
        improved = figure < best - settings.min_delta
        best, waited = (figure, 0) if improved else (best, waited + 1)
    return waited >= settings.patience


def plateau_scale(figures: Sequence[float], settings: PlateauSettings) -> float:
    """Gives what the learning rate is multiplied by after so many plateaus.

    Args:
        figures: Validation figures so far, lower is better.
        settings: What a plateau is; after each one, counting starts again.

    Returns:
        `factor` to the power of the number of plateaus, 1 at the start.
    """
    best, waited, scale = float("inf"), 0, 1.0
    for figure in figures:
        improved = figure < best - settings.min_delta
        best, waited = (figure, 0) if improved else (best, waited + 1)
        if waited >= settings.patience:
            scale, waited = scale * settings.factor, 0
    return scale
