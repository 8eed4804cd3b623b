"""Looks at landing folders from outside a run: is there anything that no run has seen?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossprobe.data.file_hashes import HashCache
from crossprobe.data.fingerprint import fingerprint


@dataclass(frozen=True)
class Landing:
    """What lies in the landing folders.

    Attributes:
        glance: Hash of names, sizes and times; cheap, and moves when a file is touched.
        youngest_s: Age of the last write, s; infinite if there is no file.
        files: Paths by site.
    """

    glance: str
    youngest_s: float
    files: Mapping[str, tuple[Path, ...]]


def look(folders: Mapping[str, Path], now: Callable[[], float] = time.time) -> Landing:
    """Lists the files of landing folders without reading one.

    Hidden files are left out (copying tools write those first), links to folders are not followed, and a file
    that goes away meanwhile is left out too.

    Args:
        folders: Landing folder by site.
        now: The clock, s since 1970.

    Returns:
        What lies there.

    Raises:
        FileNotFoundError: A folder is not there.
        PermissionError: A folder may not be listed.
    """
    states = []
    found: dict[str, tuple[Path, ...]] = {}
    last = -float("inf")
    for site, folder in sorted(folders.items()):
        files = []
        for path in _walk(folder):
            try:
                state = path.stat()
            except OSError:
                continue
            files.append(path)
            states.append((site, str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
            last = max(last, state.st_mtime)
        found[site] = tuple(files)
    return Landing(fingerprint(states), now() - last, found)


def content_hash(landing: Landing, folders: Mapping[str, Path], hashes: HashCache) -> str:
    """Hashes names and contents; a file that was only touched changes nothing.

    Args:
        landing: What lies there.
        folders: Landing folder by site.
        hashes: Gives hashes of files, those on record without reading them.

    Returns:
        64 hex digits.
    """
    contents = []
    for site, files in sorted(landing.files.items()):
        for path in files:
            try:
                contents.append((site, str(path.relative_to(folders[site])), hashes(path)))
            except OSError as error:
                contents.append((site, str(path.relative_to(folders[site])), f"unreadable: {error.strerror}"))
    return fingerprint(contents)


def _walk(folder: Path) -> Iterator[Path]:
    os.listdir(folder)  # os.walk keeps quiet about a folder that is not there
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name
