"""Stable hashes of inputs, settings and code: an expensive stage is skipped only where nothing changed."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

CHUNK_BYTES = 1 << 20


def fingerprint(*parts: Any) -> str:
    """Hashes nested plain data; equal content gives an equal hash on any machine and in any process.

    Args:
        parts: None, booleans, numbers, strings, bytes, paths (their text, not their content: see
            `file_hash`), lists, tuples, sets, mappings, dataclasses, Pydantic models and numpy arrays, nested
            as deep as you like. A mapping's order does not matter; a list's does; 1, 1.0, True and "1"
            differ.

    Returns:
        64 hex digits of SHA-256.

    Raises:
        TypeError: A part of another type, whose text might differ between two runs.
    """
    digest = hashlib.sha256()
    for chunk in _encode(parts):
        digest.update(chunk)
    return digest.hexdigest()


def _encode(value: Any) -> Iterator[bytes]:
    """Yields an unambiguous byte form: a type tag, a length where content is free, then the content."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float)):
        yield f"{type(value).__name__}:{value!r};".encode()
    elif isinstance(value, (str, Path)):
        text = str(value).encode()
        yield b"str:%d:" % len(text) + text
    elif isinstance(value, bytes):
        yield b"bytes:%d:" % len(value) + value
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("a numpy array of objects has no stable fingerprint; give numbers or a list")
        yield f"array:{value.dtype.str}:{value.shape}:".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, BaseModel):
        yield from _encode([type(value).__name__, value.model_dump(mode="python")])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        yield from _encode([type(value).__name__, fields])
    elif isinstance(value, Mapping):
        yield b"map:%d:" % len(value)
        for key, item in sorted((fingerprint(key), item) for key, item in value.items()):
            yield key.encode()
            yield from _encode(item)
    elif isinstance(value, AbstractSet):
        yield b"set:%d:" % len(value)
        yield "".join(sorted(fingerprint(item) for item in value)).encode()
    elif isinstance(value, (list, tuple)):
        yield b"list:%d:" % len(value)
        for item in value:
            yield from _encode(item)
    else:
        raise TypeError(f"no stable fingerprint for a {type(value).__name__}: turn it into plain data first")


def file_hash(path: Path | str) -> str:
    """Hashes a file's content, read in pieces of 1 MiB.

    Args:
        path: The file.

    Returns:
        64 hex digits of SHA-256.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Names the installed versions of packages whose results may change from one to the next.

    Args:
        packages: As the package index names them, such as `torch`.

    Returns:
        Version by package.

    Raises:
        PackageNotFoundError: One is not installed.
    """
    return {package: importlib.metadata.version(package) for package in packages}


def code_hash(*modules: str) -> str:
    """Hashes the source text of modules, so that a changed method is not served from an old cache.

    Args:
        modules: Dotted names. A package stands for every Python file below it.

    Returns:
        64 hex digits of SHA-256.

    Raises:
        ModuleNotFoundError: No such module, or one without Python source.
    """
    sources: list[tuple[str, str]] = []
    for module in sorted(set(modules)):
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            raise ModuleNotFoundError(f"no Python source for module {module!r}", name=module)
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
        for file in files:
            name = f"{module}:{file.relative_to(origin.parent).as_posix()}"
            sources.append((name, file.read_text(encoding="utf-8")))
    return fingerprint(sources)
