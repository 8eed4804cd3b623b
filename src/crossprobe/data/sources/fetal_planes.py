"""FETAL_PLANES_DB as published: images and one table with patient, plane and scanner.

Burgos-Artizzu et al.: Evaluation of deep convolutional neural networks for automatic classification of common
maternal fetal ultrasound planes, Scientific Reports 10, 2020, doi 10.1038/s41598-020-67076-5.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.duplicates import DuplicateSettings
from crossprobe.data.manifest import Rejection
from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.labelled_images import STAGE, LabelledImage, image_recordings
from crossprobe.data.sources.links import leads_out
from crossprobe.data.sources.table_file import read_table
from crossprobe.errors import InvalidMetadata

logger = logging.getLogger(__name__)
TABLE = "FETAL_PLANES_DB_data.csv"
COLUMNS = ["Image_name", "Patient_num", "Plane", "Operator", "US_Machine"]
Plane = Literal["brain", "abdomen", "femur", "thorax", "cervix", "other"]
PLANES: dict[str, Plane] = {
    "Fetal brain": "brain",
    "Fetal abdomen": "abdomen",
    "Fetal femur": "femur",
    "Fetal thorax": "thorax",
    "Maternal cervix": "cervix",
    "Other": "other",
}
SHOWN = 5


class FetalPlanesSettings(BaseModel):
    """The data set's folder, and the planes and the scanner taken from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fetal_planes"] = Field("fetal_planes", description="Which reader.")
    folder: Path = Field(description="Holds FETAL_PLANES_DB_data.csv and Images/.")
    planes: tuple[Plane, ...] = Field(
        ("brain", "abdomen", "femur", "thorax"), min_length=1, description="Planes taken; each is a class."
    )
    device: str = Field("", description="Start of US_Machine, such as 'Voluson E6'; empty takes all.")
    smallest_class: int = Field(3, ge=1, description="Patients that a class must have.")


def read(settings: FetalPlanesSettings, site: str, salt: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the images of one scanner: patient is `Patient_num`, class the plane. The view stays unknown.

    `Brain_plane` would tell a brain from the rest, so it is no view.

    Args:
        settings: Where, which planes and which scanner.
        site: Name given to every row.
        salt: For the pseudonyms.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`). Rows of other
        planes and scanners are no rejections. File names hold the patient's number, so rows are named by
        their place.

    Raises:
        InvalidMetadata: No table, columns missing, no row of the scanner, or no image left.
    """
    table_path = settings.folder / TABLE
    table = read_table(table_path, COLUMNS, separator=";")
    of_device = table["US_Machine"].str.startswith(settings.device)
    if not of_device.any():
        found = sorted(set(table["US_Machine"]))
        raise InvalidMetadata(f"{table_path}: no US_Machine starts with {settings.device!r}; found {found}")
    files = _files(settings.folder / "Images")
    rejections: list[Rejection] = []
    images: list[LabelledImage] = []
    repeated = set(table.loc[table["Image_name"].duplicated(keep=False), "Image_name"])
    for index, row in table[of_device].iterrows():
        where = f"{TABLE} row {int(str(index)) + 2}"
        reason = _fault(row, repeated, files)
        if reason is None and PLANES[row["Plane"]] in settings.planes:
            images.append(_image(row, files[row["Image_name"]], where))
        elif reason is not None and PLANES.get(row["Plane"], settings.planes[0]) in settings.planes:
            rejections.append(Rejection(site, STAGE, where, reason))
    rejections += _unlisted(files, set(table["Image_name"]), site, salt)
    duplicates = DuplicateSettings()
    return image_recordings(
        images, rejections, site, salt, "fetal-planes", duplicates, settings.smallest_class, str(table_path)
    )


def _files(folder: Path) -> dict[str, Path]:
    """Finds the files by name without suffix, as the table has them."""
    if not folder.is_dir():
        raise InvalidMetadata(f"{folder}: no such folder; the images must lie there")
    return {file.stem: file for file in sorted(folder.iterdir()) if not file.name.startswith(".")}


def _fault(row: pd.Series, repeated: set[str], files: dict[str, Path]) -> str | None:
    if not row["Image_name"] or not row["Patient_num"]:
        return "Image_name and Patient_num must not be empty"
    if row["Image_name"] != PurePosixPath(row["Image_name"].replace("\\", "/")).name:
        return "Image_name must be a plain file name"
    if row["Image_name"] in repeated:
        return "duplicate: this Image_name stands in several rows; keep the right one"
    if row["Plane"] not in PLANES:
        return f"Plane is {row['Plane']!r}, expected one of {', '.join(PLANES)}"
    file = files.get(row["Image_name"])
    if file is None:
        return "row has no file under Images/"
    if file.is_symlink() and leads_out(file, file.parent):
        return "file is a link that leads out of Images/"
    return None


def _image(row: pd.Series, file: Path, where: str) -> LabelledImage:
    operator = row["Operator"]
    return LabelledImage(
        key=row["Image_name"],
        item=where,
        path=file,
        label=PLANES[row["Plane"]],
        patient=row["Patient_num"],
        device=row["US_Machine"] or "unknown",
        operator="unknown" if operator in ("", "Other") else f"fetal-planes/{operator}",
    )


def _unlisted(files: dict[str, Path], listed: set[str], site: str, salt: str) -> list[Rejection]:
    found: list[Rejection] = []
    for name, file in files.items():
        if name not in listed:
            item = f"Images/{pseudonym('video', f'{site}/{name}', salt)}"
            if len(found) < SHOWN:
                logger.warning("site %s: %s is Images/%s: file without a row", site, item, file.name)
            found.append(Rejection(site, STAGE, item, f"file has no row in {TABLE}"))
    return found
