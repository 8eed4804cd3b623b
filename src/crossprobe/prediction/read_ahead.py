"""Runs an iterator in a thread of its own, a few items ahead of whoever takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_LOOK_EVERY_S = 0.1
_PATIENCE_S = 5.0


class _End:
    """What comes after the last item: nothing, or what went wrong."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterator[Item], count: int) -> Generator[Item]:
    """Gives the items of an iterator while a thread already makes the next ones.

    Decoding and image libraries let go of Python's lock while they work, so a GPU, or a spare core, computes
    meanwhile. Whoever stops early closes the generator; the thread then ends with the item it is making.

    Args:
        items: Made in the thread, and nowhere else from now on.
        count: Items that wait at most, 1 or more; one more is being made.

    Yields:
        The items in order.

    Raises:
        Exception: Whatever the iterator raises, after the items that came before.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=count)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stop), name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        # A source that waits for a scanner may never give another item: then the daemon is left to it.
        thread.join(_PATIENCE_S)


def _fill(items: Iterator[Item], waiting: queue.Queue[Item | _End], stop: threading.Event) -> None:
    end = _End(None)
    try:
        for item in items:
            _put(item, waiting, stop)
            if stop.is_set():
                break
    except BaseException as error:  # raised again where the items are taken
        end = _End(error)
    finally:
        if isinstance(items, Generator):
            items.close()
        _put(end, waiting, stop)


def _put(item: Item | _End, waiting: queue.Queue[Item | _End], stop: threading.Event) -> None:
    """Waits for room, unless nobody takes items any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_LOOK_EVERY_S)
            return
        except queue.Full:
            continue
