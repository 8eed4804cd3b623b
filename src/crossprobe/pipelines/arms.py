"""The tables of arms: what is pretrained, what is fine-tuned from it and what is fused.

Pipelines are stamped from these tables, so adding an arm is adding a line of YAML to
`conf/base/parameters/studies.yml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from kedro.utils import find_kedro_project
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.errors import InvalidMetadata

if TYPE_CHECKING:
    from crossprobe.training.settings import TrainingSettings

# Fields of an arm that decide which nodes it has and what they read.
_STAMPED = ("method", "start", "site", "branches")
_REPEAT = re.compile(r"_seed_\d+$")
# And fields of a study.
_STUDY = ("of", "repeats")


class PretrainingArm(BaseModel):
    """One way of pretraining an encoder on the unlabelled target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["mim", "contrastive"] = Field(description="Masked image modelling, or contrastive")
    frame_gap: int | None = Field(None, ge=0, description="Contrastive: frames of one video closer than this "
                                  "are no negatives; 0 is SimCLR")  # fmt: skip
    temperature: float | None = Field(None, gt=0, description="Contrastive: divides the similarities")
    random_mask: bool = Field(False, description="Control: as many negatives are masked, but at random")
    seed: int | None = Field(None, ge=0, description="Seed of this arm; the stage's own when empty")


class FinetuningArm(BaseModel):
    """One segmenter: where its encoder starts and whose labels it learns from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str = Field(description="`random`, `imagenet`, or the name of a pretraining arm")
    site: Literal["source", "target"] = Field("source", description="Whose labels it learns from")
    weight_decay: float | None = Field(None, ge=0, description="Overrides the stage's own")
    seed: int | None = Field(None, ge=0, description="Seed of this arm; the stage's own when empty")
    shuffled_labels: bool = Field(False, description="Control: masks are dealt to the wrong frames")


class FusedArm(BaseModel):
    """Two or more fine-tuned arms that answer together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    branches: tuple[str, ...] = Field(min_length=2, description="Names of fine-tuning arms")


class Arms(BaseModel):
    """All arms of one study.

    Attributes:
        pretraining: Encoders pretrained on the target, by name.
        finetuning: Segmenters, by name.
        fusion: Fused arms, by name.
        registered: The arm that becomes a model of the registry.
        of: The study whose tables these are: its own name, or another's.
        repeats: How often each arm is trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pretraining: dict[str, PretrainingArm] = Field(default_factory=dict)
    finetuning: dict[str, FinetuningArm]
    fusion: dict[str, FusedArm] = Field(default_factory=dict)
    registered: str | None = Field(None, description="Arm, fused or single, that becomes a registered model")
    of: str = Field(
        "", description="Study whose tables, and whose report settings, are taken; its own when empty"
    )
    repeats: int = Field(1, ge=1, description="How often each arm is trained, each time with the next seed")


def repeated(name: str, repeat: int) -> str:
    """Names an arm that is trained again.

    Args:
        name: Name of the arm.
        repeat: 0 is the arm itself, with its own seed; 1 the next seed.

    Returns:
        `mim`, `mim_seed_1`, `mim_seed_2`.
    """
    return f"{name}_seed_{repeat}" if repeat else name


def reseeded(
    training: TrainingSettings, arm: PretrainingArm | FinetuningArm, repeat: int
) -> TrainingSettings:
    """Gives a stage's settings the seed of an arm.

    Args:
        training: The stage's.
        arm: Its seed counts where it has its own.
        repeat: Added to the seed.

    Returns:
        The settings with that seed.
    """
    first = training.seed if arm.seed is None else arm.seed
    return training.model_copy(update={"seed": first + repeat})


@cache
def read_arms(study: str) -> Arms:
    """Reads the table of arms of a study.

    Args:
        study: Key under `studies` in the parameters, such as `cross_domain`.

    Returns:
        The table.

    Raises:
        InvalidMetadata: If there is no such study, if an arm starts from, or fuses, an arm that is not in the
            table, if an arm is called as a repeat of another, or the tables are those of a study without any,
            or stand beside tables of its own.
    """
    arms = Arms.model_validate(_with_tables(study))
    for name, arm in arms.finetuning.items():
        known = ["random", "imagenet", *arms.pretraining]
        if arm.start not in known:
            raise InvalidMetadata(
                f"studies.{study}.finetuning.{name}: start is '{arm.start}', "
                f"expected one of {', '.join(known)}"
            )
    for name, fused in arms.fusion.items():
        unknown = [branch for branch in fused.branches if branch not in arms.finetuning]
        if unknown:
            raise InvalidMetadata(
                f"studies.{study}.fusion.{name}: no fine-tuning arm named {', '.join(unknown)}; "
                f"there are {', '.join(arms.finetuning)}"
            )
    names = (*arms.pretraining, *arms.finetuning, *arms.fusion)
    if taken := sorted({name for name in names if _REPEAT.search(name)}):
        raise InvalidMetadata(
            f"studies.{study}: {', '.join(taken)} may not end in _seed_ and a number, as repeats of arms do; "
            "rename it"
        )
    usable = [*arms.fusion, *arms.finetuning]
    if arms.registered is not None and arms.registered not in usable:
        raise InvalidMetadata(
            f"studies.{study}.registered is '{arms.registered}', expected one of {', '.join(usable)}"
        )
    return arms


def _with_tables(study: str) -> dict[str, Any]:
    """Gives a study the tables of another where it says so; what is registered is not taken over."""
    studies = _studies()
    if study not in studies:
        raise InvalidMetadata(
            f"{_table_file()}: no study '{study}', for which a pipeline is stamped; "
            f"there are {', '.join(studies)}"
        )
    given = studies[study]
    if "of" not in given:
        return {"of": study, **given}
    tables = studies.get(given["of"])
    if tables is None or "of" in tables:
        own = ", ".join(name for name, other in studies.items() if "of" not in other)
        raise InvalidMetadata(f"studies.{study}.of is '{given['of']}', expected one of {own}")
    if beside := sorted({"pretraining", "finetuning", "fusion", "registered"} & set(given)):
        raise InvalidMetadata(
            f"studies.{study}: {', '.join(beside)} beside `of`, which takes the tables of '{given['of']}'; "
            "leave out one of them"
        )
    return {**tables, "registered": None, **given}


def refuse_other_arms(parameters: Mapping[str, Any]) -> None:
    """Stops a run whose environment or command line writes arms that no pipeline was made for.

    Args:
        parameters: All parameters of the run, as plain data.

    Raises:
        InvalidMetadata: Names arms that the base table does not have, and fields that decide which nodes an
            arm has and differ from it: both would be ignored.
    """
    written, strange = _studies(), []
    for study, tables in (parameters.get("studies") or {}).items():
        strange += [
            f"studies.{study}.{field}"
            for field in _STUDY
            if tables.get(field) != (written.get(study) or {}).get(field)
        ]
        for kind in ("pretraining", "finetuning", "fusion"):
            known = (written.get(study) or {}).get(kind) or {}
            for name, arm in (tables.get(kind) or {}).items():
                where = f"studies.{study}.{kind}.{name}"
                if name not in known:
                    strange.append(where)
                    continue
                strange += [
                    f"{where}.{field}"
                    for field in _STAMPED
                    if _stamped(field, arm.get(field)) != _stamped(field, known[name].get(field))
                ]
    if strange:
        raise InvalidMetadata(
            f"{', '.join(strange)}: not so in {_table_file()}. Pipelines are made from that table before "
            "environments and --params are read, so that this would be ignored: write it there"
        )


def _stamped(field: str, value: Any) -> Any:
    """What of a field the graph depends on: random and ImageNet starts are one, the source is implied."""
    if field == "site":
        return value or "source"
    return "own" if field == "start" and value in ("random", "imagenet") else value


def _table_file() -> Path:
    project = find_kedro_project(Path.cwd()) or Path(__file__).resolve().parents[3]
    return Path(project) / "conf" / "base" / "parameters" / "studies.yml"


def _studies() -> dict[str, Any]:
    """The tables of arms as the YAML has them.

    Pipelines are registered before Kedro has read the run's parameters, and a second config loader would
    take over the resolvers of the first. Which arms exist is the method, which environments never change, so
    the base configuration is the place to look, and plain YAML is enough.
    """
    file = _table_file()
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["studies"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InvalidMetadata(f"{file}: expected a table `studies` of arms by stage: {error}") from error
