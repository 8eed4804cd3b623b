"""BUS-BRA in its original layout: one image a lesion view, a mask each, and the scanner's name.

Gomez-Flores, Gregorio-Calas, Pereira: BUS-BRA, Medical Physics 51(4), 2024, doi 10.1002/mp.16812.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.manifest import RecordingSchema, Rejection, checked, rejection_table
from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.links import leads_out
from crossprobe.data.sources.table_file import read_table
from crossprobe.errors import InvalidMetadata

STAGE = "ingest"
COLUMNS = ["ID", "Case", "Pathology", "Device", "Side"]


class BusBraSettings(BaseModel):
    """The data set's folder and one scanner of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["busbra"] = Field("busbra", description="Which reader.")
    folder: Path = Field(description="Holds bus_data.csv, Images/ and Masks/.")
    device: str = Field("", description="Start of the Device column, such as 'GE Logiq 5'; empty takes all.")


def read(settings: BusBraSettings, site: str, salt: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the images of one scanner: patient is `Case`, class is `Pathology`, view is `Side`.

    Args:
        settings: Where, and which scanner.
        site: Name given to every row.
        salt: For the pseudonyms.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`). Rows of other
        scanners are no rejections. An image without its mask stays, unlabelled, and is noted.

    Raises:
        InvalidMetadata: No table, columns missing, no row of the scanner, or no row left.
    """
    table_path = settings.folder / "bus_data.csv"
    table = read_table(table_path, COLUMNS)
    listed = set(table["ID"])
    of_device = table["Device"].str.startswith(settings.device)
    if not of_device.any():
        devices = sorted({name.partition("@")[0].strip() for name in table["Device"]})
        raise InvalidMetadata(f"{table_path}: no Device starts with {settings.device!r}; found {devices}")
    rejections: list[Rejection] = []
    rows: list[dict[str, Any]] = []
    repeated = set(table.loc[table["ID"].duplicated(keep=False), "ID"])
    for index, row in table[of_device].iterrows():
        where = f"bus_data.csv row {int(str(index)) + 2}, {row['ID']}"
        image = settings.folder / "Images" / f"{row['ID']}.png"
        mask = settings.folder / "Masks" / f"{row['ID'].replace('bus_', 'mask_', 1)}.png"
        reason = _fault(row, repeated, image, mask)
        if reason:
            rejections.append(Rejection(site, STAGE, where, reason))
            continue
        if not mask.is_file():
            rejections.append(Rejection(site, STAGE, where, "no mask; the image is kept without a label"))
        rows.append(_recording(row, image, mask, site, salt))
    for image in sorted((settings.folder / "Images").glob("*")):
        if image.stem not in listed and not image.name.startswith("."):
            rejections.append(Rejection(site, STAGE, f"Images/{image.name}", "file is not in bus_data.csv"))
    if not rows:
        shown = "; ".join(f"{item.item}: {item.reason}" for item in rejections[:3])
        raise InvalidMetadata(f"{table_path}: no usable image, so site {site!r} is empty ({shown})")
    recordings = pd.DataFrame(rows).sort_values("video").reset_index(drop=True)
    return checked(recordings, RecordingSchema, str(table_path)), rejection_table(rejections)


def _fault(row: pd.Series, repeated: set[str], image: Path, mask: Path) -> str | None:
    if not row["ID"] or not row["Case"]:
        return "ID and Case must not be empty"
    if row["ID"] != PurePosixPath(row["ID"].replace("\\", "/")).name:
        return "ID must be a plain file name"
    if row["ID"] in repeated:
        return "duplicate: this ID stands in several rows; keep the right one"
    if not image.is_file():
        return "no such file under Images/"
    for file in (image, mask):
        if file.is_symlink() and leads_out(file, file.parent):
            return f"file is a link that leads out of {file.parent.name}/"
    return None


def _recording(row: pd.Series, image: Path, mask: Path, site: str, salt: str) -> dict[str, Any]:
    return {
        "site": site,
        "device": row["Device"] or "unknown",
        "operator": "unknown",
        "patient": pseudonym("patient", f"bus-bra/{row['Case']}", salt),
        "view": row["Side"] or "unknown",
        "video": pseudonym("video", f"{site}/{row['ID']}", salt),
        "path": str(image.resolve()),
        # The set does not publish a scale: distances stay in px.
        "spacing_mm": math.nan,
        "class": row["Pathology"] or "unknown",
        "masks": str(mask.resolve()) if mask.is_file() else None,
        "truths": None,
    }
