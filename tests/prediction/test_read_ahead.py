"""Order, errors and an early end survive the thread in between."""

from __future__ import annotations

import threading
import time

import pytest

from crossprobe.prediction.read_ahead import read_ahead


def test_everything_comes_in_order():
    assert list(read_ahead(iter(range(100)), 3)) == list(range(100))
    assert list(read_ahead(iter([]), 1)) == []


def test_items_are_made_ahead_but_not_further_than_asked():
    made = []

    def items():
        for number in range(50):
            made.append(number)
            yield number

    taken = read_ahead(items(), 4)
    assert next(taken) == 0
    deadline = time.monotonic() + 5
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 6, "one taken, four waiting, one in hand"
    taken.close()


def test_an_error_comes_after_what_was_made_before_it():
    def items():
        yield 1
        yield 2
        raise KeyError("broken")

    taken = read_ahead(items(), 5)
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(taken)


def test_closing_early_ends_the_thread_and_the_source():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    taken = read_ahead(items(), 2)
    next(taken)
    taken.close()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
