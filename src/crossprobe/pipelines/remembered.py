"""Node functions that are skipped where nothing they depend on has changed."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel

from crossprobe.data.fingerprint import code_hash, fingerprint, versions
from crossprobe.data.frame_store import FrameStore
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import for_scoring
from crossprobe.training.settings import RuntimeSettings

log = logging.getLogger(__name__)

Part = pd.DataFrame | dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Part | tuple[Part, ...]])

# Logits come from the one, masks and signatures from the other.
LIBRARIES = ("torch", "opencv-python-headless")
ONLY = "result"


def remembered(*code: str) -> Callable[[Function], Function]:
    """Keeps what a node made and gives it again while inputs, parameters and code are the same.

    Every argument of the function counts, so none can be forgotten: frame stores by their fingerprint,
    checkpoints by their weights, tables by their content, settings by their values, the machine by its
    arithmetic in scoring, packages by their fingerprint. `folders` alone does not: it says where results lie,
    under `folders.results`, a folder each.

    Args:
        code: Modules whose source counts beside the function's own module; a package stands for all below.

    Returns:
        The decorator; the function must have an argument `folders`, and return a table, plain data that JSON
        can hold, or a tuple of such.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            folders: Folders = given["folders"]
            parts = {name: plain(value) for name, value in given.items() if name != "folders"}
            mark = fingerprint(
                function.__name__, parts, code_hash(function.__module__, *code), versions(*LIBRARIES)
            )
            folder = folders.results / f"{function.__name__}-{mark[:32]}"
            if folder.is_dir():
                log.info(
                    "%s: nothing it depends on has changed, taken from %s", function.__name__, folder.name
                )
                return _read(folder)
            result = function(*args, **kwargs)
            _keep(result, folder)
            return result

        return once  # type: ignore[return-value]

    return decorate


def plain(value: Any) -> Any:
    """Turns what nodes are given into what `fingerprint` takes.

    Args:
        value: An argument of a node.

    Returns:
        Plain data that changes when the argument's content does.
    """
    if isinstance(value, FrameStore):
        return ("frame store", value.fingerprint, value.labels)
    if isinstance(value, pd.DataFrame):
        hashes = pd.util.hash_pandas_object(value, index=False).to_numpy()
        return ("table", list(map(str, value.columns)), hashes)
    if hasattr(value, "weights") and hasattr(value, "config"):
        from crossprobe.training.identity import weights_content

        # The weights themselves, not where they say they come from: a folder may have been replaced.
        return ("checkpoint", dict(value.config), weights_content(value.weights))
    if hasattr(value, "index") and hasattr(value, "checkpoints"):
        if not value.index.files:
            raise TypeError("a package has no stable fingerprint before it was saved")
        return ("package", value.index.fingerprint())
    if isinstance(value, RuntimeSettings):
        from crossprobe.training.identity import arithmetic
        from crossprobe.training.runtime import resolve

        # The machine that scores, not what else was asked of it: threads and workers change no score.
        return ("machine", arithmetic(resolve(for_scoring(value))))
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _keep(result: Part | tuple[Part, ...], folder: Path) -> None:
    """Writes parts by number, or the only one without; the folder is whole or not there."""
    draft = folder.with_name(f"{folder.name}.{os.getpid()}.draft")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        if isinstance(result, tuple):
            for number, part in enumerate(result):
                _write(part, draft / f"{number:02d}")
        else:
            _write(result, draft / ONLY)
        if not folder.exists():
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(part: Part, path: Path) -> None:
    if isinstance(part, pd.DataFrame):
        part.to_parquet(path.with_suffix(".parquet"), index=False)
    else:
        path.with_suffix(".json").write_text(json.dumps(part), encoding="utf-8")


def _read(folder: Path) -> Part | tuple[Part, ...]:
    parts = {path.stem: _part(path) for path in sorted(folder.iterdir())}
    return parts[ONLY] if ONLY in parts else tuple(parts.values())


def _part(path: Path) -> Part:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return json.loads(path.read_text(encoding="utf-8"))
