"""Reads a source's table of recordings and says precisely what is wrong with it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from crossprobe.errors import InvalidMetadata

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_table(path: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """Reads a CSV whose columns are documented; every cell stays text, stripped of blanks.

    Args:
        path: The file, UTF-8.
        columns: Those that must be there; others are dropped.
        separator: What stands between cells.

    Returns:
        The columns asked for; an empty cell is an empty string.

    Raises:
        InvalidMetadata: No file, no table, no rows, or a missing column, with the columns found and the
            closest match of each missing one.
    """
    if not path.is_file():
        raise InvalidMetadata(f"{path}: no such file; the table of recordings must lie there")
    mark = SEPARATORS.get(separator, repr(separator))
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InvalidMetadata(f"{path}: not a UTF-8 table separated by {mark} ({error})") from None
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InvalidMetadata(f"{path}: {_missing_columns(missing, list(table.columns), separator)}")
    # pandas renames a second column of one name to `name.1`, and stripping blanks may make two names equal.
    names = list(table.columns)
    repeated = [name for name in columns if f"{name}.1" in names or names.count(name) > 1]
    if repeated:
        raise InvalidMetadata(f"{path}: columns {repeated} stand twice")
    if table.empty:
        raise InvalidMetadata(f"{path}: the table has no rows, so the site is empty")
    table = table[list(columns)]
    return table.apply(lambda column: column.fillna("").str.strip())


def _missing_columns(missing: list[str], found: list[str], separator: str) -> str:
    hints = []
    spare = [name for name in found if name]
    for name in missing:
        lowered = {candidate.lower(): candidate for candidate in spare}
        close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
        hints.append(f"{name!r} (found {lowered[close[0]]!r}: rename it?)" if close else repr(name))
    text = f"column {', '.join(hints)} missing; found {found}"
    if len(found) == 1 and any(mark in found[0] for mark in ";,\t"):
        text += f"; cells must be separated by {SEPARATORS.get(separator, repr(separator))}"
    return text


def parse_spacing(cell: str) -> float:
    """Reads a pixel's side.

    Args:
        cell: Text of the cell; empty means unknown.

    Returns:
        Mm per px, NaN where unknown.

    Raises:
        InvalidMetadata: Not a finite number above 0. A row like that has been mistyped, and a wrong scale
            would pass into every distance, so it is not taken for unknown.
    """
    if not cell:
        return math.nan
    try:
        spacing = float(cell)
    except ValueError:
        spacing = math.nan
    if not math.isfinite(spacing) or spacing <= 0:
        raise InvalidMetadata(
            f"spacing_mm is {cell!r}, not a number above 0; leave the cell empty where the spacing is unknown"
        )
    return spacing
