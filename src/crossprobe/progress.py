"""Progress bars for anything that takes more than a few seconds; silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields the items, drawing a bar on an interactive terminal and nothing elsewhere.

    Args:
        items: What to walk through.
        description: A few words shown beside the bar.
        total: How many items there are, where `len(items)` cannot tell.

    Yields:
        The items, unchanged and in order.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(items, description=description, total=total, console=console, transient=True)
