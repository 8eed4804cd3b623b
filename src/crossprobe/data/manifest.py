"""The three tables that carry the data: recordings, manifest and rejections, each with its schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from crossprobe.data.fingerprint import fingerprint
from crossprobe.errors import InvalidMetadata

PATH_COLUMNS = ("path", "mask_path", "truth_path", "masks", "truths")
REJECTION_COLUMNS = ["site", "stage", "item", "reason"]


class RecordingSchema(pa.DataFrameModel):
    """One row a video or image, as the sources give them.

    `masks` and `truths` are a folder of `<frame:06d>.png` or one PNG; `truths` holds the known answer where
    there is one (the phantom), `masks` what an annotator drew. Names are pseudonyms. `spacing_mm` is the side
    of a pixel, empty where nobody knows.
    """

    site: Series[str]
    device: Series[str]
    operator: Series[str]
    patient: Series[str]
    view: Series[str]
    video: Series[str] = pa.Field(unique=True)
    path: Series[str]
    spacing_mm: Series[float] = pa.Field(nullable=True, gt=0)
    class_: Series[str] = pa.Field(alias="class")
    masks: Series[str] = pa.Field(nullable=True)
    truths: Series[str] = pa.Field(nullable=True)

    class Config:
        """Every column must be there, and no other."""

        coerce = True
        strict = True


class ManifestSchema(pa.DataFrameModel):
    """One row a kept frame, in the row order of the frame store's pixels.

    `height`, `width`, `crop_top` and `crop_left` are px of the native frame: the ultrasound area that was
    kept. `content` is a hash of the cropped native frame and its mask, so that a manifest's hash stands for
    its pixels.
    """

    site: Series[str]
    device: Series[str]
    operator: Series[str]
    patient: Series[str]
    view: Series[str]
    video: Series[str]
    path: Series[str]
    spacing_mm: Series[float] = pa.Field(nullable=True, gt=0)
    class_: Series[str] = pa.Field(alias="class")
    frame: Series[int] = pa.Field(ge=0)
    height: Series[int] = pa.Field(ge=1)
    width: Series[int] = pa.Field(ge=1)
    crop_top: Series[int] = pa.Field(ge=0)
    crop_left: Series[int] = pa.Field(ge=0)
    labelled: Series[bool]
    content: Series[str] | None
    # Optional, because a reader without the right to labels gets the table without these two.
    mask_path: Series[str] | None = pa.Field(nullable=True)
    truth_path: Series[str] | None = pa.Field(nullable=True)

    class Config:
        """Column types are coerced; extra columns are an error; a frame stands once."""

        coerce = True
        strict = True
        unique = ["video", "frame"]  # noqa: RUF012 - pandera reads a plain attribute


class RejectionSchema(pa.DataFrameModel):
    """One row for each thing that was dropped; `item` is a relative file name, a row or a pseudonym."""

    site: Series[str]
    stage: Series[str]
    item: Series[str]
    reason: Series[str]

    class Config:
        """Every column must be there, and no other."""

        coerce = True
        strict = True


class Rejection(NamedTuple):
    """What was dropped and why."""

    site: str
    stage: str
    item: str
    reason: str


def rejection_table(rejections: Iterable[Rejection]) -> pd.DataFrame:
    """Makes the table of rejections, with its columns even where nothing was rejected.

    Args:
        rejections: What was dropped.

    Returns:
        A table that fits `RejectionSchema`.
    """
    table = pd.DataFrame([tuple(item) for item in rejections], columns=REJECTION_COLUMNS, dtype=object)
    return RejectionSchema.validate(table)


def checked(table: pd.DataFrame, schema: type[pa.DataFrameModel], origin: str) -> pd.DataFrame:
    """Validates a table and says in one line what is wrong with it and where it came from.

    Args:
        table: Any of the three tables.
        schema: What it must fit.
        origin: The file or stage the table comes from, for the message.

    Returns:
        The table with its column types coerced.

    Raises:
        InvalidMetadata: Names the origin, the column, the check and the first failing rows.
    """
    try:
        return schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        shown = "; ".join(
            f"column {row.column}, row {row.index}: {row.check} fails for {row.failure_case!r}"
            for row in cases.head(5).itertuples(index=False)
        )
        raise InvalidMetadata(f"{origin}: {len(cases)} values break {schema.__name__}: {shown}") from None


def manifest_hash(manifest: pd.DataFrame) -> str:
    """Hashes a manifest's content; row order, column order and where the files lie do not matter.

    Args:
        manifest: A table that fits `ManifestSchema` (or `RecordingSchema`).

    Returns:
        64 hex digits of SHA-256.
    """
    columns = sorted(set(manifest.columns) - set(PATH_COLUMNS))
    keys = [key for key in ("video", "frame") if key in columns]
    table = manifest[columns].sort_values(keys, kind="stable")
    values = {name: [_plain(value) for value in table[name].tolist()] for name in columns}
    return fingerprint(values)


def _plain(value: object) -> object:
    return None if value is None or (isinstance(value, float) and value != value) else value
