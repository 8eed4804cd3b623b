"""Node functions that are skipped where nothing they depend on has changed."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from crossprobe.data.fingerprint import code_hash, fingerprint, versions
from crossprobe.data.frame_store import FrameStore
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import for_scoring
from crossprobe.training.settings import RuntimeSettings

log = logging.getLogger(__name__)

# Logits come from the one, masks and signatures from the other.
LIBRARIES = ("torch", "opencv-python-headless")


def remembered(*code: str) -> Callable[[Callable[..., pd.DataFrame]], Callable[..., pd.DataFrame]]:
    """Keeps the table a node made and gives it again while inputs, parameters and code are the same.

    Every argument of the function counts, so none can be forgotten: frame stores by their fingerprint,
    checkpoints by their weights, tables by their content, settings by their values, the machine by its
    arithmetic in scoring. `folders` alone does not: it says where the tables lie, under `folders.results`.

    Args:
        code: Modules whose source counts beside the function's own module; a package stands for all below.

    Returns:
        The decorator; the function must have an argument `folders`.
    """

    def decorate(function: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> pd.DataFrame:
            given = signature.bind(*args, **kwargs).arguments
            folders: Folders = given["folders"]
            parts = {name: plain(value) for name, value in given.items() if name != "folders"}
            mark = fingerprint(
                function.__name__, parts, code_hash(function.__module__, *code), versions(*LIBRARIES)
            )
            path = folders.results / f"{function.__name__}-{mark[:32]}.parquet"
            if path.is_file():
                log.info("%s: nothing it depends on has changed, taken from %s", function.__name__, path.name)
                return pd.read_parquet(path)
            table = function(*args, **kwargs)
            _keep(table, path)
            return table

        return once

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


def _keep(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        table.to_parquet(draft, index=False)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
