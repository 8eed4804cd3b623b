"""The sources by kind: adding one is a module with `read` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from crossprobe.data.image_groups import ImageGroups
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
    "fetal_planes": fetal_planes.read,
}
# Sources that may name no patient: they group images, and remember how.
GROUPING: dict[str, Callable[[Any, str, str, ImageGroups | None], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "busi": busi.read,
    "image_folder": image_folder.read,
}


def read_source(
    settings: AnySource, site: str, salt: str, groups: ImageGroups | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads a site's recordings with the reader its settings name.

    Args:
        settings: Of any kind; `SourceSettings` is the type to annotate a parameter with.
        site: Name given to every row.
        salt: For the pseudonyms.
        groups: For a kind in `GROUPING`: what earlier readings knew of groups; new ones are added to it.

    Returns:
        Recordings (`RecordingSchema`) and rejections (`RejectionSchema`).

    Raises:
        InvalidMetadata: See the reader.
    """
    if settings.kind in GROUPING:
        return GROUPING[settings.kind](settings, site, salt, groups)
    return READERS[settings.kind](settings, site, salt)
