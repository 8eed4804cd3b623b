"""The layout for anybody's images: a folder a class, and a table of patients where they are known."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.duplicates import DuplicateSettings
from crossprobe.data.image_groups import ImageGroups
from crossprobe.data.manifest import Rejection
from crossprobe.data.pseudonym import pseudonym, redact
from crossprobe.data.sources.class_folders import FolderImage, find_images
from crossprobe.data.sources.labelled_images import STAGE, LabelledImage, image_recordings
from crossprobe.data.sources.table_file import read_table

logger = logging.getLogger(__name__)
TABLE = "patients.csv"
COLUMNS = ["file", "patient"]


class ImageFolderSettings(BaseModel):
    """A folder of images by class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["image_folder"] = Field("image_folder", description="Which reader.")
    folder: Path = Field(description="Holds a folder a class and, where patients are known, patients.csv.")
    classes: tuple[str, ...] = Field((), description="Folders taken; all if empty.")
    device: str = Field("unknown", description="Name of the scanner, given to every image.")
    patient_prefix: str = Field(
        "", description="Put before patient ids where two sites number their patients independently."
    )
    duplicates: DuplicateSettings = Field(
        DuplicateSettings(), description="How near-copies are grouped where there is no patients.csv."
    )
    smallest_class: int = Field(3, ge=1, description="Patients, or groups of copies, that a class must have.")


def read(
    settings: ImageFolderSettings, site: str, salt: str, groups: ImageGroups | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the layout; with a table of patients, what it does not name is rejected.

    Args:
        settings: Where, and which classes.
        site: Name given to every row.
        salt: For the pseudonyms.
        groups: What earlier readings knew of groups; new ones are added to it.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`). File names appear
        under pseudonyms; the log of this machine tells them.

    Raises:
        InvalidMetadata: No class folders, a table without its columns, or no usable image.
    """
    reader = _Reader(settings, site, salt)
    return reader.read(groups)


class _Reader:
    def __init__(self, settings: ImageFolderSettings, site: str, salt: str):
        self.settings = settings
        self.site = site
        self.salt = salt
        self.rejections: list[Rejection] = []

    def read(self, groups: ImageGroups | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        folder = self.settings.folder
        found, faults = find_images(folder, self.settings.classes)
        for fault in faults:
            # A folder is a class and may be named; a file may be called after a patient.
            item = fault.name if fault.name.endswith("/") else self._hidden(fault.name, fault.reason)
            self._reject(item, fault.reason)
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name != TABLE and not file.name.startswith("."):
                reason = "lies beside the folders of the classes, so it has no class"
                self._reject(self._hidden(file.name, reason), reason)
        patients = self._patients(found) if (folder / TABLE).is_file() else None
        images = [self._labelled(image, patients) for image in found]
        return image_recordings(
            [image for image in images if image is not None],
            self.rejections,
            self.site,
            self.salt,
            "image-folder",
            self.settings.duplicates,
            self.settings.smallest_class,
            str(folder),
            groups,
        )

    def _labelled(self, image: FolderImage, patients: dict[str, str] | None) -> LabelledImage | None:
        item = self._item(image.name)
        patient = None
        if patients is not None:
            if image.name not in patients:
                reason = f"file is not in {TABLE}, so nobody knows whose it is"
                self._reject(self._hidden(image.name, reason), reason)
                return None
            patient = self.settings.patient_prefix + patients[image.name]
        device = self.settings.device
        return LabelledImage(
            image.name, item, image.path, image.label, patient, device=device, masks=image.masks
        )

    def _patients(self, found: list[FolderImage]) -> dict[str, str]:
        """Reads patient by file; a file may be named with or without its class's folder."""
        table = read_table(self.settings.folder / TABLE, COLUMNS)
        names = {image.name for image in found}
        short: dict[str, list[str]] = {}
        for name in names:
            short.setdefault(PurePosixPath(name).name, []).append(name)
        # Where only some classes are taken, rows of the others are no faults.
        others = {folder.name for folder in self.settings.folder.iterdir() if folder.is_dir()}
        others -= {image.label for image in found}
        patients: dict[str, str] = {}
        conflicting: set[str] = set()
        for number, row in enumerate(table.to_dict("records"), start=2):
            given = PurePosixPath(str(row["file"]).replace("\\", "/")).as_posix()
            fits = [given] if given in names else short.get(given, [])
            reason = ""
            if not row["file"] or not row["patient"]:
                reason = "file and patient must not be empty"
            elif len(fits) > 1:
                reason = "several classes hold a file of this name; write class/file"
            elif not fits and PurePosixPath(given).parts[0] not in others:
                reason = "no such file in the folders of the classes"
            if reason:
                self._reject(self._row(number, str(row["file"]), table), reason)
            elif fits and patients.setdefault(fits[0], str(row["patient"])) != row["patient"]:
                conflicting.add(fits[0])
                self._reject(self._row(number, str(row["file"]), table), "file has two patients")
        return {name: patient for name, patient in patients.items() if name not in conflicting}

    def _row(self, number: int, name: str, table: pd.DataFrame) -> str:
        hidden = redact(name, table["patient"], "patient", self.salt)
        return ", ".join(part for part in (f"{TABLE} row {number}", hidden) if part)

    def _item(self, name: str) -> str:
        path = PurePosixPath(name)
        hidden = pseudonym("video", f"{self.site}/{name}", self.salt)
        return f"{path.parts[0]}/{hidden}" if len(path.parts) > 1 else hidden

    def _hidden(self, name: str, reason: str) -> str:
        """Names a file in the table by pseudonym, and on this machine's log by its name."""
        item = self._item(name)
        logger.warning("site %s: %s is %s: %s", self.site, item, name, reason)
        return item

    def _reject(self, item: str, reason: str) -> None:
        self.rejections.append(Rejection(self.site, STAGE, item, reason))
