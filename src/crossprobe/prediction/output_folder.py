"""The folder of results: one writer at a time, results that are whole or not there, and nothing left over.

Results are made under hidden names and renamed when they are whole. A process that was killed leaves such
names behind; the next one that writes here clears them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from crossprobe.errors import CrossprobeError

log = logging.getLogger(__name__)

PARTIAL, OLD = ".partial-", "-old"
_REPLACED = re.compile(rf"{re.escape(PARTIAL)}\d+-(?P<output>.+){OLD}")


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder of results and clears what a killed one has left there.

    The lock is on the folder itself and ends with the process, however that ends.

    Args:
        folder: Made if missing.

    Yields:
        Nothing.

    Raises:
        CrossprobeError: Another process writes to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CrossprobeError(
                f"another prediction writes to {folder}; wait for it, or name another folder"
            ) from None
        except OSError as error:
            # Some network drives lock no folder. What lies there may then be another process's: it stays.
            log.warning("%s cannot be locked (%s): leftovers are not cleared", folder, error.strerror)
        else:
            _clear(folder)
        yield
    finally:
        os.close(handle)


def partial_path(folder: Path, name: str) -> Path:
    """Where something is made before it is renamed.

    Args:
        folder: The folder of results.
        name: What it will be called.

    Returns:
        A hidden path in the same folder, of this process alone.
    """
    return folder / f"{PARTIAL}{os.getpid()}-{name}"


def put_in_place(partial: Path, final: Path) -> None:
    """Renames a finished folder over an older one of the same name.

    A folder that is not empty cannot be replaced in one step: the older one steps aside first. It comes back
    where the second step fails, and, after a kill in between, when the next process clears.

    Args:
        partial: The finished folder, from `partial_path`.
        final: Its name from now on.

    Raises:
        CrossprobeError: Something else has that name.
    """
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise CrossprobeError(f"{final.name} in the output folder is no folder of ours; move it away")
    old = partial.with_name(partial.name + OLD)
    if final.exists():
        final.rename(old)
    try:
        partial.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _clear(folder: Path) -> None:
    for left in sorted(folder.glob(f"{PARTIAL}*")):
        replaced = _REPLACED.fullmatch(left.name)
        try:
            if replaced and not os.path.lexists(folder / replaced["output"]):
                left.rename(folder / replaced["output"])
            elif left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        except OSError as error:
            log.warning("%s of a killed prediction cannot be removed (%s)", left, error.strerror)
