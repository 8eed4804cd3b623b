"""Renaming of weights by an ordered list of patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def rename(name: str, rules: Sequence[Rule]) -> str:
    """Rewrites a name with every rule in turn.

    Args:
        name: Key of a state dict.
        rules: Pattern and replacement, applied in order; a pattern that does not match does nothing.

    Returns:
        The new name.
    """
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
