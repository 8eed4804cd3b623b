"""What the raw data of a site are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.duplicates import DuplicateSettings
from crossprobe.data.sources.busbra import BusBraSettings
from crossprobe.data.sources.busi import BusiSettings
from crossprobe.data.sources.fetal_planes import FetalPlanesSettings
from crossprobe.data.sources.image_folder import ImageFolderSettings
from crossprobe.data.sources.registry import AnySource
from crossprobe.data.sources.wrist import WristSettings


class RawSettings(BaseModel):
    """Where a site's raw data lie and in which layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["phantom", "wrist", "busbra", "busi", "fetal_planes", "image_folder"] = Field(
        description="`phantom` is generated; the others are layouts of data that lie there"
    )
    folder: Path = Field(description="Folder of the data; for the phantom, where it is written")
    patient_prefix: str = Field(
        "", description="wrist, image_folder: put before patient ids, where two sites use the same"
    )
    device: str | None = Field(
        None,
        description="busbra, fetal_planes: only images of devices whose name starts so; image_folder: its "
        "name",
    )
    classes: tuple[str, ...] = Field(
        (), description="busi, image_folder: folders taken, all if empty; fetal_planes: planes taken, the "
                        "four of the fetus if empty"
    )  # fmt: skip
    half: Literal["all", "first", "second"] = Field(
        "all", description="Keep one half of the patients; halves of one device are a zero-shift control"
    )
    smallest_class: int = Field(
        3, ge=1, description="busi, fetal_planes, image_folder: patients or groups that a class must have"
    )
    duplicates: DuplicateSettings = Field(
        DuplicateSettings(), description="busi, image_folder: how near-copies are grouped without patients"
    )

    def source(self) -> AnySource:
        """Names the reader of this layout.

        Returns:
            Its settings; the phantom is written in the layout of a clinic and read like one.
        """
        folder, smallest_class, duplicates = self.folder, self.smallest_class, self.duplicates
        if self.kind == "busbra":
            return BusBraSettings(folder=folder, device=self.device or "")
        if self.kind == "busi":
            return BusiSettings(
                folder=folder, classes=self.classes, duplicates=duplicates, smallest_class=smallest_class
            )
        if self.kind == "fetal_planes":
            chosen = {"planes": self.classes} if self.classes else {}
            return FetalPlanesSettings.model_validate(
                {"folder": folder, "device": self.device or "", "smallest_class": smallest_class, **chosen}
            )
        if self.kind == "image_folder":
            return ImageFolderSettings(
                folder=folder,
                classes=self.classes,
                device=self.device or "unknown",
                patient_prefix=self.patient_prefix,
                duplicates=duplicates,
                smallest_class=smallest_class,
            )
        return WristSettings(folder=folder, patient_prefix=self.patient_prefix)
