"""Finds labelled images in a folder a class, and sets apart the masks that lie among them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from crossprobe.data.sources.links import leads_out
from crossprobe.data.video import IMAGE_SUFFIXES
from crossprobe.errors import InvalidMetadata

NOT_FOLLOWED = "a link to a folder; such links are not followed"
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
    """Lists the folders of the classes; a link to a folder is none.

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
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith((".", "__"))
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

    Links to folders are not followed, and a file that is a link out of the root is a fault.

    Args:
        root: Holds a folder a class, each of any depth.
        classes: Those wanted; all where empty.

    Returns:
        Images and faults, both sorted by name.

    Raises:
        InvalidMetadata: As `class_folders`.
    """
    images: list[FolderImage] = []
    faults = [
        FolderFault(f"{link.name}/", NOT_FOLLOWED)
        for link in (sorted(root.iterdir()) if root.is_dir() else [])
        if link.is_symlink() and link.is_dir() and (not classes or link.name in classes)
    ]
    for folder in class_folders(root, classes):
        found = len(images)
        for entry in _entries(folder, root, faults):
            _sort_out(entry, folder, root, images, faults)
        if len(images) == found:
            faults.append(FolderFault(f"{folder.name}/", "class folder holds no image"))
    return images, faults


def _entries(folder: Path, root: Path, faults: list[FolderFault]) -> Iterator[list[Path]]:
    """Yields the visible files of each folder below."""
    plain, folders = [], []
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(root).as_posix()
        if entry.name.startswith("."):
            continue
        if entry.is_symlink() and entry.is_dir():
            # No slash behind the name: only folders of classes are sure to be named after no patient.
            faults.append(FolderFault(name, NOT_FOLLOWED))
        elif entry.is_symlink() and not entry.exists():
            faults.append(FolderFault(name, "a link that leads nowhere"))
        elif entry.is_symlink() and leads_out(entry, root):
            faults.append(FolderFault(name, "a link that leads out of the folder of the data"))
        elif entry.is_dir():
            folders.append(entry)
        elif entry.is_file():
            plain.append(entry)
    yield plain
    for inner in folders:
        yield from _entries(inner, root, faults)


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
