"""What a page is made of: plain data that the template turns into HTML, escaping every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.reporting.style import darkened, data_address, png_bytes, svg_bytes
from crossprobe.reporting.wording import MISSING


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `note` is set smaller, `warning` stands out."""

    text: str
    style: Literal["text", "note", "warning"] = "text"
    kind: str = "paragraph"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True)
class Tile:
    """One figure that sums things up.

    Attributes:
        label: What it is.
        value: The figure.
        detail: Interval, n, p.
        tone: `better`, `worse`, `none`, `unknown` or empty.
    """

    label: str
    value: str
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Tiles:
    """A row of figures."""

    items: tuple[Tile, ...]
    kind: str = "tiles"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it says.
        detail: Smaller, below it.
        claim: What a paper claims, set apart from what was measured.
        test: What a test says, below the detail.
        strong: Whether it is the best of its column.
        tone: Colours a verdict.
        heat: Share 0 to 1 of background shading, none where None.
        numeric: Whether it is aligned as a number.
    """

    text: str
    detail: str = ""
    claim: str = ""
    strong: bool = False
    tone: str = ""
    heat: float | None = None
    numeric: bool = True
    test: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: a heading, perhaps an arm's colour, and cells."""

    heading: str
    cells: tuple[Cell, ...]
    colour: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table with row and column headings.

    Attributes:
        caption: What it shows.
        corner: Heading of the column of row headings.
        columns: Headings.
        rows: Rows.
        groups: Headings over several columns: (text, columns spanned).
        note: Below the table.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, int], ...] = ()
    note: str = ""
    kind: str = "table"

    @property
    def heated(self) -> bool:
        """Whether any cell is shaded: columns are then as wide as one another."""
        return any(cell.heat is not None for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class Chart:
    """A drawing in the light and the dark look."""

    light: str
    dark: str
    caption: str
    alternative: str
    kind: str = "chart"


@dataclass(frozen=True)
class Picture:
    """Pixels with a caption."""

    address: str
    caption: str
    alternative: str
    kind: str = "picture"


@dataclass(frozen=True)
class Facts:
    """Keys and values."""

    items: tuple[tuple[str, str], ...]
    caption: str = ""
    kind: str = "facts"


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until asked for (and open on paper)."""

    summary: str
    blocks: tuple[Block, ...]
    kind: str = "details"


Block = Paragraph | Bullets | Tiles | Table | Chart | Picture | Facts | Details


@dataclass(frozen=True)
class Section:
    """A part of the page with its place in the contents."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class ReportImage:
    """A picture handed to the report.

    Attributes:
        image: PNG bytes, the path of a PNG, or a figure.
        caption: Below it.
        alternative: For those who cannot see it; the caption where empty.
    """

    image: bytes | Path | Figure
    caption: str
    alternative: str = ""

    def block(self) -> Picture:
        """Packs the picture into the page."""
        if isinstance(self.image, Figure):
            content = png_bytes(self.image)
        else:
            content = self.image if isinstance(self.image, bytes) else Path(self.image).read_bytes()
        return Picture(data_address(content, "image/png"), self.caption, self.alternative or self.caption)


def chart(figure: Figure, caption: str, alternative: str = "") -> Chart:
    """Packs a drawing into the page, in a light and a dark look."""
    drawn = svg_bytes(figure)
    light, dark = (data_address(look, "image/svg+xml") for look in (drawn, darkened(drawn)))
    return Chart(light, dark, caption, alternative or caption)


def plain_table(frame: pd.DataFrame, caption: str, note: str = "") -> Table:
    """Turns any data frame into a table, its first column as row headings.

    Args:
        frame: Values are written as they are; whole numbers get separators, others three decimals.
        caption: What it shows.
        note: Below the table.

    Returns:
        The table.
    """
    names: Sequence[str] = [str(column).replace("_", " ") for column in frame.columns]
    rows = [
        Row(str(values[0]), tuple(_plain_cell(value) for value in values[1:]))
        for values in frame.itertuples(index=False, name=None)
    ]
    return Table(caption, names[0], tuple(names[1:]), tuple(rows), note=note)


def _plain_cell(value: object) -> Cell:
    if value is None or (not isinstance(value, str) and pd.isna(value)):  # type: ignore[call-overload]
        return Cell(MISSING)
    if isinstance(value, bool | str):
        return Cell(str(value), numeric=False)
    if isinstance(value, int) or float(value).is_integer():  # type: ignore[arg-type]
        return Cell(f"{int(value):,}")  # type: ignore[call-overload]
    return Cell(f"{float(value):.3f}")  # type: ignore[arg-type]
