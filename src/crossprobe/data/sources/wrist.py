"""The layout for clinical users: `metadata.csv`, `videos/`, `masks/<video stem>/<frame:06d>.png`."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data import dicom
from crossprobe.data.manifest import RecordingSchema, Rejection, checked, rejection_table
from crossprobe.data.pseudonym import pseudonym, redact
from crossprobe.data.sources.links import leads_out
from crossprobe.data.sources.table_file import parse_spacing, read_table
from crossprobe.data.video import MEDIA_SUFFIXES
from crossprobe.errors import InvalidMetadata, UnreadableMedia

logger = logging.getLogger(__name__)
STAGE = "ingest"
COLUMNS = ["file", "patient", "operator", "device", "view", "spacing_mm", "class"]


class WristSettings(BaseModel):
    """A folder of videos with a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["wrist"] = Field("wrist", description="Which reader.")
    folder: Path = Field(description="Holds metadata.csv, videos/ and, where there are labels, masks/.")
    patient_prefix: str = Field(
        "", description="Put before patient ids where two sites number their patients independently."
    )


def read(settings: WristSettings, site: str, salt: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the layout; a bad row is rejected with its reason and the rest goes on.

    A row whose `spacing_mm` is empty is kept with the spacing unknown (for DICOM: taken from the file); one
    with anything but a number above 0 is rejected. Of rows that name one file, equal ones count once;
    differing ones are all rejected, because nobody can tell which is right. Files that no row names are
    rejected under a pseudonym; the log of this machine tells their names.

    Args:
        settings: Where.
        site: Name given to every row.
        salt: For the pseudonyms.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`).

    Raises:
        InvalidMetadata: No table, columns missing, no rows, or no row left.
    """
    return _Reader(settings, site, salt).read()


class _Reader:
    def __init__(self, settings: WristSettings, site: str, salt: str):
        self.settings = settings
        self.site = site
        self.salt = salt
        self.rejections: list[Rejection] = []
        self.table_path = settings.folder / "metadata.csv"
        self.table = read_table(self.table_path, COLUMNS)

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = [row for row in self._unique_rows() if row is not None]
        listed = {self._normal(row["file"]) for row in self.table.to_dict("records")}
        self._reject_unlisted("videos", listed)
        self._reject_unlisted_masks(listed)
        if not rows:
            shown = "; ".join(f"{item.item}: {item.reason}" for item in self.rejections[:3])
            raise InvalidMetadata(
                f"{self.table_path}: no usable recording in {len(self.table)} rows, "
                f"so site {self.site!r} is empty ({shown})"
            )
        recordings = pd.DataFrame(rows).sort_values("video").reset_index(drop=True)
        return checked(recordings, RecordingSchema, str(self.table_path)), rejection_table(self.rejections)

    def _unique_rows(self) -> list[dict[str, Any] | None]:
        table = self.table.assign(file=[self._normal(name) for name in self.table["file"]])
        repeats = table.duplicated(keep="first")
        conflicting = set(table.loc[~repeats, "file"][table.loc[~repeats, "file"].duplicated()])
        stems = Counter(_stem(name) for name in sorted(set(table["file"])))
        rows: list[dict[str, Any] | None] = []
        for number, row in enumerate(table.to_dict("records"), start=2):
            if repeats.iloc[number - 2]:
                self._reject(number, row["file"], "duplicate: the same row stands above")
            elif row["file"] in conflicting:
                self._reject(number, row["file"], "duplicate: rows with this file differ; keep the right one")
            else:
                rows.append(self._recording(number, {str(k): str(v) for k, v in row.items()}, stems))
        return rows

    def _recording(
        self, number: int, row: dict[str, str], stems: Counter[str | None]
    ) -> dict[str, Any] | None:
        name = row["file"]
        try:
            if not name or not row["patient"]:
                raise InvalidMetadata("file and patient must not be empty")
            stem = _stem(name)
            if stem is None:
                raise InvalidMetadata("file must name a file, and its name must not start with a dot")
            path = self.settings.folder / "videos" / name
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise InvalidMetadata("file must lie under videos/")
            if not path.is_file():
                raise InvalidMetadata("no such file under videos/")
            if leads_out(path, self.settings.folder / "videos"):
                raise InvalidMetadata("file is a link that leads out of videos/")
            masks, truths = (self._labels(kind, stem) for kind in ("masks", "truths"))
            if masks is not None and stems[stem] > 1:
                raise InvalidMetadata(f"{stems[stem]} files share the masks of this stem; rename them")
            spacing = parse_spacing(row["spacing_mm"])
            if math.isnan(spacing):
                spacing = _dicom_spacing(path)
        except InvalidMetadata as error:
            self._reject(number, name, str(error))
            return None
        operator = row["operator"] or "unknown"
        return {
            "site": self.site,
            "device": row["device"] or "unknown",
            "operator": pseudonym("operator", operator, self.salt),
            "patient": pseudonym("patient", self.settings.patient_prefix + row["patient"], self.salt),
            "view": row["view"] or "unknown",
            "video": pseudonym("video", f"{self.site}/{name}", self.salt),
            "path": str(path.resolve()),
            "spacing_mm": spacing,
            "class": row["class"] or "unknown",
            "masks": masks,
            "truths": truths,
        }

    def _labels(self, kind: str, stem: str) -> str | None:
        root = self.settings.folder / kind
        folder = root / stem
        if not folder.is_dir():
            return None
        links = (entry for entry in folder.iterdir() if entry.is_symlink() and entry.exists())
        if leads_out(folder, root) or any(leads_out(link, root) for link in links):
            raise InvalidMetadata(f"{kind} of this file are links that lead out of {kind}/")
        return str(folder.resolve())

    def _reject_unlisted(self, kind: str, listed: set[str]) -> None:
        folder = self.settings.folder / kind
        for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
            name = file.relative_to(folder).as_posix()
            if file.is_file() and not file.name.startswith(".") and name not in listed:
                self._reject_unknown(kind, name, "file is not in metadata.csv")

    def _reject_unlisted_masks(self, listed: set[str]) -> None:
        stems = {_stem(name) for name in listed}
        folder = self.settings.folder / "masks"
        held = sorted({file.parent for file in folder.rglob("*.png")}) if folder.is_dir() else []
        for masks in held:
            name = masks.relative_to(folder).as_posix()
            if name not in stems:
                self._reject_unknown("masks", name, "masks of a video that is not in metadata.csv")

    def _normal(self, name: str) -> str:
        """Makes one spelling of a relative file name: people write `videos/a.mp4` and `a.mp4`."""
        path = PurePosixPath(name.replace("\\", "/")) if name else PurePosixPath()
        text = path.as_posix() if name else ""
        return text.removeprefix("videos/")

    def _reject(self, number: int, name: str, reason: str) -> None:
        name = redact(name, self.table["patient"], "patient", self.salt)
        name = redact(name, self.table["operator"], "operator", self.salt)
        item = ", ".join(part for part in (f"metadata.csv row {number}", name) if part)
        self.rejections.append(Rejection(self.site, STAGE, item, reason))

    def _reject_unknown(self, kind: str, name: str, reason: str) -> None:
        """Rejects what no row names: it may be called after a patient whom the table does not hold either."""
        hidden = pseudonym("video", f"{self.site}/{name}", self.salt)
        # Any other suffix may be part of a name ("dr.schmidt").
        suffix = PurePosixPath(name).suffix.lower()
        item = f"{kind}/{hidden}{suffix if suffix in MEDIA_SUFFIXES else ''}"
        # The rejections are passed on; the log stays here, and its reader has to find the file.
        logger.warning("site %s: %s is %s/%s: %s", self.site, item, kind, name, reason)
        self.rejections.append(Rejection(self.site, STAGE, item, reason))


def _stem(name: str) -> str | None:
    """Relative name without its suffix, which names the folder of masks; None for what names no file."""
    path = PurePosixPath(name)
    return None if not path.name or path.name.startswith(".") else str(path.with_suffix(""))


def _dicom_spacing(path: Path) -> float:
    """Spacing from the file where it is DICOM; a broken file is the frames stage's to report."""
    try:
        return (dicom.spacing_mm(path) if dicom.is_dicom(path) else None) or math.nan
    except UnreadableMedia:
        return math.nan
