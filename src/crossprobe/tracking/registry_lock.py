"""One writer at a time in a local registry: a lock file beside the database.

A registry on a server has no file to lock. There, every change is checked again after it was made (see
`Registry`).
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
from collections.abc import Iterator
from pathlib import Path

from crossprobe.errors import RegistryError

LONGEST_WAIT_S = 120.0
POLL_S = 0.1


@contextlib.contextmanager
def registry_lock(uri: str, longest_wait_s: float = LONGEST_WAIT_S) -> Iterator[None]:
    """Holds the lock of a registry; it falls back by itself if the process dies.

    Args:
        uri: Tracking URI; only `sqlite:` has a file to lock.
        longest_wait_s: When to give up.

    Yields:
        Nothing, while the lock is held.

    Raises:
        RegistryError: Another process held it all the time.
    """
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    path = database.with_name(database.name + ".registry-lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        _acquire(handle.fileno(), path, longest_wait_s)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def sqlite_file(uri: str) -> Path | None:
    """Gives the file of a local registry.

    Args:
        uri: Tracking URI.

    Returns:
        The database; None where the registry is no SQLite file.
    """
    found = re.match(r"sqlite:///(.+)", uri)
    return Path(found.group(1)) if found else None


def _acquire(descriptor: int, path: Path, longest_wait_s: float) -> None:
    # A monotonic clock: that of the wall may jump.
    end = time.monotonic() + longest_wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise RegistryError(
                    f"{path}: another process has held the registry for {longest_wait_s:.0f} s; "
                    "wait until its run has ended and try again"
                ) from None
            time.sleep(POLL_S)
