"""What the record of a run does not hold: names of predicted files and, on a server elsewhere, any path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Their names may be those of patients, so they stay in the folder of the results.
NAMES_OF_FILES = ("prediction.paths",)
# Parameters that name a place, however it is spelt.
PLACES = ("folder", "file", "output", "paths", "project_path")
LOCAL_SCHEMES = ("sqlite:", "file:")


def tracking_is_local(uri: str) -> bool:
    """Whether runs are recorded on this machine.

    Args:
        uri: Tracking URI.
    """
    return uri.startswith(LOCAL_SCHEMES)


def recorded(value: Any, elsewhere: bool, name: str = "") -> Any:
    """Gives what a record may hold of parameters.

    Args:
        value: Nested plain data.
        elsewhere: Whether the record lies on another machine; then no path goes there either.
        name: Dotted name of the value; empty for all parameters, and for what a run was started with.

    Returns:
        A copy, in which what is withheld says so.
    """
    if name.endswith(NAMES_OF_FILES):
        count = f"{len(value)} named" if isinstance(value, (list, tuple)) else "named"
        return f"({count}, not recorded)" if value else value
    if isinstance(value, Mapping):
        return {
            key: recorded(inner, elsewhere, f"{name}.{key}" if name else str(key))
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [recorded(inner, elsewhere, name) for inner in value]
    is_text = isinstance(value, (str, Path)) and bool(str(value))
    if elsewhere and is_text and (name.rpartition(".")[2] in PLACES or Path(value).is_absolute()):
        return "(a path, not recorded on a server elsewhere)"
    return value
