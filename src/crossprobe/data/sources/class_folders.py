"""Finds labelled images in a folder a class, and sets apart the masks that lie among them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from crossprobe.data.video import IMAGE_SUFFIXES
from crossprobe.errors import InvalidMetadata

MASK_NAME = re.compile(r"(?P<image>.+?)[ _-]mask(?:[ _-]?\d+)?", re.IGNORECASE)


class FolderImage(NamedTuple):
    """An image below its class's folder, and its mask (several with a `*`)."""

    label: str
    name: str
    path: Path
    masks: Path | None


class FolderFault(NamedTuple):
    """A file or folder that gives no image: a name relative to the root, and why."""

    name: str
    reason: str


def class_folders(root: Path, classes: Sequence[str]) -> list[Path]:
    """Lists the folders of the classes.

    Args:
        root: Holds a folder a class.
        classes: Those wanted; all where empty.

    Returns:
        Sorted folders.

    Raises:
        InvalidMetadata: No folders, or not the ones wanted; names those found.
    """
    found = {
        folder.name: folder
        for folder in (sorted(root.iterdir()) if root.is_dir() else [])
        if folder.is_dir() and not folder.name.startswith((".", "__"))
    }
    if not found:
        raise InvalidMetadata(f"{root}: expected a folder a class with images in it, found none")
    missing = [name for name in classes if name not in found]
    if missing:
        close = [difflib.get_close_matches(name, list(found), n=1, cutoff=0.6) for name in missing]
        hints = [f"{name!r}" + (f" (found {near[0]!r})" if near else "") for name, near in
                 zip(missing, close, strict=True)]  # fmt: skip
        raise InvalidMetadata(f"{root}: no folder of class {', '.join(hints)}; there are {sorted(found)}")
    return [found[name] for name in (classes or sorted(found))]


def find_images(root: Path, classes: Sequence[str]) -> tuple[list[FolderImage], list[FolderFault]]:
    """Finds the images of each class; a file `NAME_mask*` beside the image NAME is its mask and no image.

    Args:
        root: Holds a folder a class, each of any depth.
        classes: Those wanted; all where empty.

    Returns:
        Images and faults, both sorted by name.

    Raises:
        InvalidMetadata: As `class_folders`.
    """
    images: list[FolderImage] = []
    faults: list[FolderFault] = []
    for folder in class_folders(root, classes):
        found = len(images)
        for entry in _entries(folder):
            _sort_out(entry, folder, root, images, faults)
        if len(images) == found:
            faults.append(FolderFault(f"{folder.name}/", "class folder holds no image"))
    return images, faults


def _entries(folder: Path) -> Iterator[list[Path]]:
    """Yields the visible files of each folder below."""
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
    yield [file for file in files if file.is_file()]
    for inner in files:
        if inner.is_dir():
            yield from _entries(inner)


def _sort_out(
    files: list[Path], folder: Path, root: Path, images: list[FolderImage], faults: list[FolderFault]
) -> None:
    pictures = {file.stem: file for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    masks: dict[str, list[Path]] = {}
    for file in files:
        name = file.relative_to(root).as_posix()
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            faults.append(FolderFault(name, f"no image: suffix {file.suffix or 'missing'!r} is not read"))
        elif match := MASK_NAME.fullmatch(file.stem):
            owner = match["image"]
            if owner in pictures:
                masks.setdefault(owner, []).append(file)
            else:
                faults.append(FolderFault(name, "named like a mask, but its image does not lie beside it"))
    for file in files:
        if file.suffix.lower() in IMAGE_SUFFIXES and not MASK_NAME.fullmatch(file.stem):
            name = file.relative_to(root).as_posix()
            images.append(FolderImage(folder.name, name, file, _mask_name(masks.get(file.stem, []))))


def _mask_name(masks: list[Path]) -> Path | None:
    """One path for all masks of an image: what their names start with, and a `*`."""
    if len(masks) < 2:
        return masks[0] if masks else None
    stems = [mask.stem for mask in masks]
    start = min(stems, key=len)
    while not all(stem.startswith(start) for stem in stems):
        start = start[:-1]
    suffixes = {mask.suffix for mask in masks}
    return masks[0].parent / f"{start}*{suffixes.pop() if len(suffixes) == 1 else ''}"
