"""Links in a folder of data: one that stays inside is a file as any other, one that leads out is refused."""

from __future__ import annotations

from pathlib import Path


def leads_out(path: Path, root: Path) -> bool:
    """Whether a file, or a folder above it, is a link to somewhere outside.

    Args:
        path: Below the root.
        root: The folder of the data; it may be a link itself.

    Returns:
        Whether following all links ends outside of the root.
    """
    return not path.resolve().is_relative_to(root.resolve())
