"""The tables of classifiers: which arms a study has, whose labels they learn from and how they adapt.

Pipelines are stamped from these tables, so adding an arm is adding a line of YAML to
`conf/base/parameters/<study>.yml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from kedro.utils import find_kedro_project
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.adaptation.dann import DannSettings
from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.classification.settings import ClassifierModel
from crossprobe.training.classification_augment import ClassificationAugmentSettings
from crossprobe.training.settings import TrainingSettings

Site = Literal["source", "second_source", "target"]
RESERVED = ("report", "deal")


class ClassifierArm(BaseModel):
    """One classifier: where it starts, whose labels it learns from and what differs from its study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels_of: tuple[Site, ...] = Field(
        ("source",), min_length=1, description="Sites whose labels it learns from"
    )
    adapt: Literal["none", "dann"] = Field(
        "none", description="`dann`: domain-adversarial training with unlabelled target images; pools pixels"
    )
    start: str | None = Field(None, description="Arm to go on from; the study's own start when empty")
    labels_per_class: int | None = Field(
        None,
        gt=0,
        description="Learn from so many labelled images of each class only, each of another patient",
    )
    split: Literal["patient", "image"] = Field(
        "patient",
        description="`image`: the control that deals single images to parts, as a naive study would",
    )
    seed: int | None = Field(None, ge=0, description="Seed of this arm; the study's own when empty")
    model: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the study's `model` that differ"
    )
    training: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the study's `training` that differ"
    )
    augment: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the study's `augment` that differ"
    )
    dann: dict[str, Any] = Field(default_factory=dict, description="Fields of the study's `dann` that differ")

    @model_validator(mode="after")
    def _makes_sense(self) -> ClassifierArm:
        known: dict[str, type[BaseModel]] = {
            "model": ClassifierModel,
            "training": TrainingSettings,
            "augment": ClassificationAugmentSettings,
            "dann": DannSettings,
        }
        for name, model in known.items():
            unknown = sorted(set(getattr(self, name)) - set(model.model_fields))
            if unknown:
                raise ValueError(
                    f"{name} has no {', '.join(unknown)}; it has {', '.join(model.model_fields)}"
                )
        if self.dann and self.adapt != "dann":
            raise ValueError("dann says how an arm adapts, so it needs adapt: dann")
        if self.adapt == "dann" and "target" in self.labels_of:
            raise ValueError("adapt: dann takes the target as unlabelled, so labels_of must not name it")
        if self.split == "image" and (self.labels_of != ("source",) or self.adapt != "none"):
            raise ValueError("split: image is a control inside the source: labels_of [source], adapt none")
        if self.labels_per_class is not None and len(self.labels_of) > 1:
            raise ValueError("labels_per_class chooses images of one site: name one in labels_of")
        return self

    @property
    def pools(self) -> tuple[str, ...]:
        """Sites whose pixels its training node opens."""
        return (*self.labels_of, "target") if self.adapt == "dann" else self.labels_of


class ClassifierEnsemble(BaseModel):
    """Arms that answer together, by the mean of their probabilities and by vote."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: tuple[str, ...] = Field(min_length=2, description="Names of arms")


class ClassifierArms(BaseModel):
    """All arms of one study.

    Attributes:
        sites: Sites whose test patients are scored.
        arms: Classifiers, by name.
        ensembles: Joined classifiers, by name.
        registered: The arm or ensemble that becomes a model of the registry; none where empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sites: tuple[Literal["source", "target"], ...] = Field(("source",), min_length=1)
    arms: dict[str, ClassifierArm] = Field(min_length=1)
    ensembles: dict[str, ClassifierEnsemble] = Field(default_factory=dict)
    registered: str | None = None


@cache
def read_classifiers(study: str) -> ClassifierArms:
    """Reads the table of arms of a study.

    Args:
        study: Top-level key in the parameters, such as `breast`.

    Returns:
        The table.

    Raises:
        InvalidMetadata: An arm starts from, or an ensemble joins, what is not in the table before it.
    """
    found = _study(study)
    arms = ClassifierArms.model_validate(
        {name: found[name] for name in ClassifierArms.model_fields if name in found}
    )
    names = list(arms.arms)
    for place, (name, arm) in enumerate(arms.arms.items()):
        where = f"{study}.arms.{name}"
        if name in RESERVED:
            raise InvalidMetadata(f"{where}: the name is taken; choose another")
        if arm.start is not None and arm.start not in names[:place]:
            above = ", ".join(names[:place]) or "none"
            raise InvalidMetadata(f"{where}: start is '{arm.start}', expected an arm above it: {above}")
    for name, ensemble in arms.ensembles.items():
        unknown = [member for member in ensemble.members if member not in arms.arms]
        if unknown:
            raise InvalidMetadata(
                f"{study}.ensembles.{name}: no arm named {', '.join(unknown)}; there are {', '.join(names)}"
            )
    _check_registered(study, arms)
    return arms


def refuse_other_arms(parameters: Mapping[str, Any]) -> None:
    """Stops a run whose environment or command line writes classifiers that no pipeline was made for.

    Args:
        parameters: All parameters of the run, as plain data.

    Raises:
        InvalidMetadata: Names arms and ensembles that the base table does not have: they would be ignored.
    """
    for study, table in parameters.items():
        if not (isinstance(table, Mapping) and "arms" in table):
            continue
        known = read_classifiers(study)
        kinds: dict[str, Mapping[str, Any]] = {"arms": known.arms, "ensembles": known.ensembles}
        strange = [
            f"{study}.{kind}.{name}"
            for kind, there in kinds.items()
            for name in table.get(kind) or {}
            if name not in there
        ]
        if strange:
            raise InvalidMetadata(
                f"{', '.join(strange)}: not in the table of '{study}' below conf/base/parameters. Pipelines "
                "are made from that table before environments and --params are read, so that this would be "
                "ignored: write it there"
            )


def lineage(arms: ClassifierArms, name: str) -> list[str]:
    """Names an arm and those that it goes on from, the nearest first.

    Args:
        arms: The table.
        name: Of the arm.
    """
    found, start = [name], arms.arms[name].start
    while start is not None:
        found.append(start)
        start = arms.arms[start].start
    return found


def _check_registered(study: str, arms: ClassifierArms) -> None:
    """A model of the registry is judged by source patients: it has learned from source labels alone."""
    if arms.registered is None:
        return
    usable = [*arms.arms, *arms.ensembles]
    if arms.registered not in usable:
        raise InvalidMetadata(
            f"{study}.registered is '{arms.registered}', expected one of {', '.join(usable)}"
        )
    joined = arms.ensembles.get(arms.registered)
    members = joined.members if joined else (arms.registered,)
    for name in (name for member in members for name in lineage(arms, member)):
        arm = arms.arms[name]
        few = arm.labels_per_class is not None
        if few or arm.split != "patient" or arm.labels_of[0] != "source" or "target" in arm.labels_of:
            raise InvalidMetadata(
                f"{study}.registered: arm '{name}' is a reference or a control and not for use: register one "
                "that learns from all of the source's labels, by patient, and from none of the target's"
            )


def _study(study: str) -> dict[str, Any]:
    """The study's table as the base YAML has it; see `crossprobe.pipelines.arms` for why it is read so."""
    project = find_kedro_project(Path.cwd()) or Path(__file__).resolve().parents[4]
    for file in sorted((Path(project) / "conf" / "base" / "parameters").glob("*.yml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if study in content:
            return content[study]
    raise InvalidMetadata(f"conf/base/parameters has no study '{study}'")
