"""BUSI as published: a folder a class, masks beside the images, no patients.

Al-Dhabyani, Gomaa, Khaled, Fahmy: Dataset of breast ultrasound images, Data in Brief 28, 2020,
doi 10.1016/j.dib.2019.104863.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.duplicates import DuplicateSettings
from crossprobe.data.image_groups import ImageGroups
from crossprobe.data.manifest import Rejection
from crossprobe.data.sources.class_folders import find_images
from crossprobe.data.sources.labelled_images import STAGE, LabelledImage, image_recordings

PUBLISHED = "Dataset_BUSI_with_GT"
DEVICE = "GE LOGIQ E9"


class BusiSettings(BaseModel):
    """The data set's folder and the classes taken from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["busi"] = Field("busi", description="Which reader.")
    folder: Path = Field(description="Holds Dataset_BUSI_with_GT/, or the folders of the classes.")
    classes: tuple[str, ...] = Field(
        (), description="Folders taken, such as benign and malignant; all if empty."
    )
    duplicates: DuplicateSettings = Field(DuplicateSettings(), description="How near-copies are grouped.")
    smallest_class: int = Field(3, ge=1, description="Groups that a class must have.")


def read(
    settings: BusiSettings, site: str, salt: str, groups: ImageGroups | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the images; all masks of an image count as one, and a group of near-copies as a patient.

    Args:
        settings: Where, and which classes.
        site: Name given to every row.
        salt: For the pseudonyms.
        groups: What earlier readings knew of groups; new ones are added to it.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`).

    Raises:
        InvalidMetadata: No folders of the classes, or no usable image.
    """
    published = settings.folder / PUBLISHED
    root = published if published.is_dir() else settings.folder
    found, faults = find_images(root, settings.classes)
    rejections = [Rejection(site, STAGE, fault.name, fault.reason) for fault in faults]
    for image in found:
        if image.masks is None:
            reason = "no mask; the image is kept with its class and without a mask"
            rejections.append(Rejection(site, STAGE, image.name, reason))
    images = [
        # The published names tell nothing about patients.
        LabelledImage(image.name, image.name, image.path, image.label, device=DEVICE, masks=image.masks)
        for image in found
    ]
    return image_recordings(
        images,
        rejections,
        site,
        salt,
        "busi",
        settings.duplicates,
        settings.smallest_class,
        str(root),
        groups,
    )
