"""Remembers hashes of files, so that looking at a folder a second time reads no file that did not change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from crossprobe.data.fingerprint import file_hash

# A file changed again within the resolution of its file system's clock keeps its time stamp. Two seconds is
# the coarsest resolution in use (FAT), so a hash taken sooner after the last change is used once and not
# kept.
YOUNGEST_KEPT_S = 2.0


class FileState(NamedTuple):
    """What the file system says about a file; any write, rename or replacement changes some of it.

    The time of the last change of the inode (`ctime_ns`) is in it because copying tools set the time of the
    last write back, and nothing but the kernel sets this one.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class KnownHash(NamedTuple):
    """A hash and the state of the file that it was taken of."""

    state: FileState
    sha256: str


def file_state(path: Path | str) -> FileState:
    """Asks the file system about a file, following links.

    Args:
        path: The file.

    Raises:
        OSError: It is gone, or may not be looked at.
    """
    found = os.stat(path)
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@dataclass
class HashCache:
    """Hashes files, and takes over the hash of a file whose state is the one on record.

    Attributes:
        name_of: Gives the key of a path; a keyed pseudonym, since paths may hold names of patients.
        known: Hashes on record, by key.
        fresh: Those taken since, which the caller puts on record once its work is safe.
        read: Files whose content was read.
    """

    name_of: Callable[[str], str]
    known: Mapping[str, KnownHash] = field(default_factory=dict)
    fresh: dict[str, KnownHash] = field(default_factory=dict)
    read: int = 0

    def __call__(self, path: Path) -> str:
        """Gives the SHA-256 of a file.

        Args:
            path: The file.

        Returns:
            64 hex digits.

        Raises:
            OSError: It is gone or cannot be read.
        """
        before = file_state(path)
        key = self.name_of(str(path))
        entry = self.fresh.get(key) or self.known.get(key)
        if entry is not None and entry.state == before:
            return entry.sha256
        digest = file_hash(path)
        self.read += 1
        if file_state(path) == before and _old_enough(before):
            self.fresh[key] = KnownHash(before, digest)
        return digest


def _old_enough(state: FileState) -> bool:
    """Whether a later write must show in the time stamps; a time stamp in the future never says so."""
    return max(state.mtime_ns, state.ctime_ns) / 1e9 <= time.time() - YOUNGEST_KEPT_S
