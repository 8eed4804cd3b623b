"""How branches are calibrated and fused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.fusion.ensemble import FusedAnswer


class FusedAnswers(BaseModel):
    """Ways of fusing that are scored beside each other, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: dict[str, FusedAnswer] = Field(min_length=1, description="`<arm>_<name>` stands in the tables")
