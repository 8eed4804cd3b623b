"""One template pipeline for all arms of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kedro.pipeline import Pipeline

from crossprobe.pipelines.arms import Arms


def stamped(arms: Arms, names: Iterable[str], make: Callable[[str, int], Pipeline]) -> Pipeline:
    """Joins the pipelines of arms, as often as their study repeats them.

    Args:
        arms: The study's.
        names: Arms of one of its tables.
        make: Makes the pipeline of an arm, by name and repeat.

    Returns:
        All of them.
    """
    names = list(names)
    return sum((make(name, repeat) for repeat in range(arms.repeats) for name in names), Pipeline([]))
