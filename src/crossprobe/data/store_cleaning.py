"""Clears away what killed builds left, frame stores that nobody used lately, and parts without a store."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from crossprobe.data.recording_parts import BUILDING, ONCE, PARTS

REMOVING = ".removing-"


def remove_abandoned(root: Path) -> None:
    """Deletes what killed builds left behind; the process id in the name says whether one still runs.

    Args:
        root: Folder of frame stores; its lock is held.
    """
    for folder in [
        *root.glob(f"{BUILDING}*"),
        *(root / PARTS).glob(f"{BUILDING}*"),
        *root.glob(f"{REMOVING}*"),
    ]:
        process = folder.name.rpartition("-")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not _runs(int(process))):
            shutil.rmtree(folder, ignore_errors=True)
    remove_once(root / PARTS)


def remove_once(parts: Path) -> None:
    """Deletes parts that only the build that made them may use, and the folder of parts if nothing is left.

    Args:
        parts: Folder of parts; the lock of its root is held.
    """
    for folder in parts.glob(f"{ONCE}*"):
        shutil.rmtree(folder, ignore_errors=True)
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()


def remove_old_stores(root: Path, current: Path, keep: int) -> list[Path]:
    """Deletes all but the last used frame stores, and the parts that none of those left is made of.

    A store counts as used when it is built or found again. It loses its name in one step before its files go,
    so no reader ever finds half of it.

    Args:
        root: Folder of frame stores; its lock is held.
        current: The store just built; it stays.
        keep: How many stay, the current one included, at least 1.

    Returns:
        Former folders of the deleted stores.
    """
    stores = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    stores.sort(key=lambda folder: (folder == current, folder.stat().st_mtime_ns), reverse=True)
    for folder in stores[max(1, keep) :]:
        _remove(folder, root)
    used: set[str] = set()
    for folder in stores[: max(1, keep)]:
        used |= _parts_of(folder)
    for part in (root / PARTS).iterdir() if (root / PARTS).is_dir() else []:
        if part.name not in used and not part.name.startswith("."):
            _remove(part, root)
    return stores[max(1, keep) :]


def _remove(folder: Path, root: Path) -> None:
    hidden = root / f"{REMOVING}{folder.name}-{os.getpid()}"
    os.rename(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _parts_of(store: Path) -> set[str]:
    """Names of a store's parts; none for a store of an older version, which has none."""
    try:
        names = json.loads((store / "parts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {name for name in names.values() if name}


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
