"""Tells files that are still being copied from files that lie there whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from crossprobe.data.file_hashes import FileState, file_state


def unsettled_files(
    files: Iterable[Path],
    settle_seconds: float,
    now: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> set[Path]:
    """Looks twice at files that were written a moment ago and names those that changed in between.

    Only a file whose last write lies within `settle_seconds` of the clock, or in the clock's future, is
    looked at twice; the second look comes `settle_seconds` later. What counts is whether size or time stamp
    moved, so a clock that jumps costs a second look and never lets half a file through. A copy that stalls
    for longer than `settle_seconds` passes; its rest is noticed later as an edit.

    Args:
        files: Which; those that are not there are left to the reader.
        settle_seconds: Time between the looks, s; 0 looks once and names nothing.
        now: The clock, s since 1970.
        wait: Sleeps for some seconds.

    Returns:
        Files that changed or went away between the looks.
    """
    if settle_seconds <= 0:
        return set()
    young = {}
    for file in files:
        state = _look(file)
        if state is not None and now() - state.mtime_ns / 1e9 < settle_seconds:
            young[file] = state
    if not young:
        return set()
    wait(settle_seconds)
    return {file for file, state in young.items() if _look(file) != state}


def _look(file: Path) -> FileState | None:
    try:
        return file_state(file)
    except OSError:
        return None
