"""Finds the files to predict: what was named, and what lies in the folders that were named."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossprobe.data import dicom
from crossprobe.data.video import MEDIA_SUFFIXES
from crossprobe.errors import CrossprobeError


@dataclass(frozen=True)
class InputFile:
    """One file.

    Attributes:
        name: As the user knows it: its name, or its path below the folder that was named. Nothing is read
            from inside the file for it.
        path: Where it is.
        refused: Why it is not opened; empty where it is.
    """

    name: str
    path: Path
    refused: str = ""


def find_inputs(paths: Iterable[Path], output: Path) -> list[InputFile]:
    """Lists files in a fixed order; links are followed only to files inside the folder that was named.

    Args:
        paths: Files and folders.
        output: Folder of the results, which may lie below those: what it holds is no input.

    Returns:
        Files, each with a name of its own; those that cannot be opened carry the reason.

    Raises:
        CrossprobeError: A folder that was named is the folder of the results itself.
    """
    output = output.resolve()
    found = [item for path in paths for item in (_below(path, output) if path.is_dir() else [_named(path)])]
    taken: set[str] = set()
    distinct = []
    for item in found:
        tried = (f"{item.name} ({again})" for again in itertools.count(2))
        name = next(name for name in itertools.chain([item.name], tried) if name not in taken)
        taken.add(name)
        distinct.append(dataclasses.replace(item, name=name))
    return distinct


def _named(path: Path) -> InputFile:
    try:
        there = path.is_file()
    except OSError as error:
        return InputFile(path.name, path, f"cannot be opened ({error.strerror})")
    return InputFile(path.name, path, "" if there else "no such file or folder")


def _below(folder: Path, output: Path) -> Iterator[InputFile]:
    root = folder.resolve()
    if root == output:
        raise CrossprobeError(
            f"{folder} cannot hold both the files and the results: those would be predicted next time; name "
            f"another folder, such as {folder / 'predictions'}"
        )
    denied: list[str] = []
    for here, folders, files in os.walk(folder, onerror=lambda error: denied.append(str(error.filename))):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(here) / name
            shown = Path(root.name, path.relative_to(folder)).as_posix()
            if path.is_dir():
                if path.resolve() == output:
                    folders.remove(name)
                    yield InputFile(shown, path, "skipped: the folder of the results")
                elif path.is_symlink():
                    yield InputFile(shown, path, "skipped: a link to a folder is not followed")
                continue
            yield InputFile(shown, path, _refusal(path, root))
    for name in denied:
        shown = Path(root.name, os.path.relpath(name, folder)).as_posix()
        yield InputFile(shown, Path(name), "folder cannot be opened (permission denied)")


def _refusal(path: Path, root: Path) -> str:
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
            return "a link that leads out of the folder is not followed"
        if path.name.startswith("."):
            return "skipped: a hidden file"
        suffix = path.suffix.lower()
        if suffix not in MEDIA_SUFFIXES and not (path.is_file() and dicom.is_dicom(path)):
            return f"skipped: no image, video or DICOM file ({suffix or 'no suffix'})"
    except (OSError, RuntimeError) as error:
        # A chain of links that ends in itself, a link to nothing, or a file that may not be read.
        return f"cannot be opened ({getattr(error, 'strerror', None) or 'links that lead in a circle'})"
    return ""
