"""The sources by kind: adding one is a module with `read` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from crossprobe.data.sources import busbra, busi, fetal_planes, image_folder, wrist
from crossprobe.data.sources.busbra import BusBraSettings
from crossprobe.data.sources.busi import BusiSettings
from crossprobe.data.sources.fetal_planes import FetalPlanesSettings
from crossprobe.data.sources.image_folder import ImageFolderSettings
from crossprobe.data.sources.wrist import WristSettings

AnySource = WristSettings | BusBraSettings | BusiSettings | FetalPlanesSettings | ImageFolderSettings
SourceSettings = Annotated[AnySource, Field(discriminator="kind")]

READERS: dict[str, Callable[[Any, str, str], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "wrist": wrist.read,
    "busbra": busbra.read,
    "busi": busi.read,
    "fetal_planes": fetal_planes.read,
    "image_folder": image_folder.read,
}


def read_source(settings: AnySource, site: str, salt: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads a site's recordings with the reader its settings name.

    Args:
        settings: Of any kind; `SourceSettings` is the type to annotate a parameter with.
        site: Name given to every row.
        salt: For the pseudonyms.

    Returns:
        Recordings (`RecordingSchema`) and rejections (`RejectionSchema`).

    Raises:
        InvalidMetadata: See the reader.
    """
    return READERS[settings.kind](settings, site, salt)
