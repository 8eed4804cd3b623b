"""The sources by kind: adding one is a module with `read` and a line here."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from pydantic import Field

from crossprobe.data.sources import busbra, wrist
from crossprobe.data.sources.busbra import BusBraSettings
from crossprobe.data.sources.wrist import WristSettings

SourceSettings = Annotated[WristSettings | BusBraSettings, Field(discriminator="kind")]


def read_source(
    settings: WristSettings | BusBraSettings, site: str, salt: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    if isinstance(settings, WristSettings):
        return wrist.read(settings, site, salt)
    return busbra.read(settings, site, salt)
