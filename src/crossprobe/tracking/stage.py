"""Which tracked run the node at work belongs to.

Nodes run one after another, so one value is enough; Kedro gives them no other way to ask.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossprobe.errors import RegistryError


@dataclass(frozen=True)
class StageRun:
    """Where to log.

    Attributes:
        uri: Tracking URI.
        parent: Run of the whole job.
        run: Nested run of the stage.
    """

    uri: str
    parent: str
    run: str


_current: list[StageRun] = []


def enter(stage: StageRun) -> None:
    """Says which run the next node belongs to.

    Args:
        stage: The run.
    """
    _current[:] = [stage]


def current() -> StageRun:
    """Gives the run of the node at work.

    Raises:
        RegistryError: Tracking is off.
    """
    if not _current:
        raise RegistryError("registering a model needs tracking; switch MLflow on in conf/base/mlflow.yml")
    return _current[0]
