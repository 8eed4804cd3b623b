"""What happens when data arrive."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.rerun_policy import RerunRule


class ArrivalsSettings(BaseModel):
    """When to train again, and what that means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: RerunRule = Field(default_factory=RerunRule)
    pipelines: tuple[str, ...] = Field(
        ("cross_domain",), description="Pipelines that are run one after another when training is due"
    )
