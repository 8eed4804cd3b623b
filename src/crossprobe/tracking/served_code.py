"""The part of the library that a served model needs, found by following its imports.

A server then needs no checkout of the project, and a model carries some thirty files instead of all.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def needed_files(start: Path) -> list[Path]:
    """Follows imports of our own modules, those inside functions too.

    Args:
        start: The file that is served.

    Returns:
        Files below the package, sorted, with the `__init__.py` of every folder on the way, without `start`.
    """
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        for file in _imported(waiting.pop()):
            if file not in found:
                found.add(file)
                waiting.append(file)
    return sorted(found)


def copy_code(start: Path, folder: Path) -> Path:
    """Copies the files that a served file needs.

    Args:
        start: The file that is served.
        folder: Where the copy of the package goes.

    Returns:
        The copied package.
    """
    for file in needed_files(start):
        copy = folder / PACKAGE.name / file.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return folder / PACKAGE.name


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            yield from _files_of(name.split("."))


def _files_of(parts: list[str]) -> Iterator[Path]:
    """Files behind a dotted name: the module, and the `__init__.py` of every package above it."""
    if parts[0] != PACKAGE.name:
        return
    for depth in range(1, len(parts) + 1):
        place = PACKAGE.joinpath(*parts[1:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file
