"""What the raw data of a site are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.sources.busbra import BusBraSettings
from crossprobe.data.sources.wrist import WristSettings


class RawSettings(BaseModel):
    """Where a site's raw data lie and in which layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["phantom", "wrist", "busbra"] = Field(
        description="`phantom` is generated; `wrist` and `busbra` are layouts of data that lie there"
    )
    folder: Path = Field(description="Folder of the data; for the phantom, where it is written")
    patient_prefix: str = Field("", description="wrist: put before patient ids, where two sites use the same")
    device: str | None = Field(None, description="busbra: only images of devices whose name starts so")

    def source(self) -> WristSettings | BusBraSettings:
        """Names the reader of this layout.

        Returns:
            Its settings; the phantom is written in the layout of a clinic and read like one.
        """
        if self.kind == "busbra":
            return BusBraSettings(folder=self.folder, device=self.device or "")
        return WristSettings(folder=self.folder, patient_prefix=self.patient_prefix)
