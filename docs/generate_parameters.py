"""Writes docs/reference/parameters.md from the Pydantic models that type the parameters.

Run `python docs/generate_parameters.py` after changing a model; a test compares the page with its result.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.leakage import LeakSettings
from crossprobe.data.ledger import LedgerSettings
from crossprobe.data.split import SplitSettings
from crossprobe.evaluation.domain_settings import DomainDifferenceSettings
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.fusion.temperature import TemperatureSettings
from crossprobe.models.config import TransUNetConfig
from crossprobe.phantom.settings import PhantomSettings
from crossprobe.pipelines.arms import Arms
from crossprobe.pipelines.arrivals.settings import ArrivalsSettings
from crossprobe.pipelines.classification.arms import ClassifierArm
from crossprobe.pipelines.classification.settings import (
    ClassifierPage,
    ClassifierScoring,
    ClassifierTraining,
)
from crossprobe.pipelines.data_processing.settings import RawSettings
from crossprobe.pipelines.exchange import ExchangeSettings
from crossprobe.pipelines.finetuning.settings import FinetuningSettings
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.fusion.settings import FusedAnswers
from crossprobe.pipelines.model import ModelSettings
from crossprobe.pipelines.predict.settings import PredictJob
from crossprobe.pipelines.pretraining.settings import ContrastivePretraining, MimPretraining
from crossprobe.pipelines.register.settings import ClassifierRegistration, RegistrationSettings
from crossprobe.pipelines.reporting.settings import ChoiceSettings, ComparisonSettings, ReportSettings
from crossprobe.training.settings import RuntimeSettings

PAGE = Path(__file__).parent / "reference" / "parameters.md"

# Parameter as it stands in YAML, its model, and a line of introduction. `<site>` is a site, such as `source`.
BLOCKS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("<site>.raw", RawSettings, "Where the raw data of a site lie, and in which layout."),
    ("<site>.frames", FrameSettings, "How recordings become frames."),
    ("<site>.split", SplitSettings, "How patients are dealt to parts."),
    ("leaks", LeakSettings, "What the leak audit takes for the same frame."),
    ("phantom", PhantomSettings, "The generated data. A site may be given in part: what is left out keeps "
     "the value of its preset in `src/crossprobe/phantom/presets.py`, also where this table says required."),
    ("folders", Folders, "Where large files lie."),
    ("ledger", LedgerSettings, "What is noted about arrivals, and where; see "
     "[Schedule](../how-to/schedule.md)."),
    ("arrivals", ArrivalsSettings, "When to train again."),
    ("exchange", ExchangeSettings, "Two sites on two machines; see [Two sites](../how-to/two-sites.md)."),
    ("model", ModelSettings, "The architecture."),
    ("model.changes", TransUNetConfig, "Fields of the architecture that `model.changes` may set; the preset "
     "gives the rest."),
    ("runtime", RuntimeSettings, "The machine."),
    ("pretraining.mim", MimPretraining, "Masked image modelling on the unlabelled target."),
    ("pretraining.contrastive", ContrastivePretraining, "Contrastive learning on the unlabelled target."),
    ("finetuning", FinetuningSettings, "Supervised training, the same for every arm."),
    ("fusion.temperature", TemperatureSettings, "Calibration of each branch."),
    ("fusion.fused", FusedAnswers, "Ways of fusing, scored beside each other."),
    ("evaluation.scoring", SiteScoring, "How frames are scored."),
    ("evaluation.choice", ChoiceSettings, "How an arm is chosen without labels."),
    ("domain_difference", DomainDifferenceSettings, "How two devices are compared without labels."),
    ("reports.<study>.comparison", ComparisonSettings, "What is compared; declared before the run."),
    ("reports.<study>.page", ReportSettings, "What the page shows."),
    ("registration", RegistrationSettings, "How an arm becomes a version in the registry, and a version the "
     "champion; see [Promote and roll back](../how-to/promote-and-roll-back.md)."),
    ("prediction", PredictJob, "What `kedro run --pipeline=predict` does, and what `crossprobe predict` does "
     "where its options say nothing; see [Predict](../how-to/predict.md)."),
    ("<classifiers>.training", ClassifierTraining, "Classifiers of a study; `<classifiers>` is `breast`, "
     "`breast_in_domain`, `transfer` or `fetal`."),
    ("<classifiers>.scoring", ClassifierScoring, "How trained classifiers are asked."),
    ("<classifiers>.page", ClassifierPage, "What is compared and shown; declared before the run."),
    ("<classifiers>.registration", ClassifierRegistration, "How the arm that the study registers becomes a "
     "version in the registry; see [Train a classifier](../how-to/train-a-classifier.md)."),
    ("<classifiers>.arms.<arm>", ClassifierArm, "One classifier; see "
     "[Train a classifier](../how-to/train-a-classifier.md)."),
    ("studies.<study>", Arms, "The table of arms; see [Add an arm](../how-to/add-an-arm.md)."),
)  # fmt: skip

INTRODUCTION = """# Parameters

This page is written by `docs/generate_parameters.py` from the models that check the parameters: do not
edit it.

- Values of the default run: `conf/base/parameters/`. An environment in `conf/<name>/` names only what
  differs.
- One value for one run: `kedro run --params=finetuning.training.seed=1`.
- A misspelt key or a value outside its range stops the run before the first node.
- "required" means that the model has no default of its own: `conf/base` sets it.
- Further parameters are plain values: `<site>.site` (the site's name), and the run parameters `scale` and
  `reverse` (see [Commands](commands.md)).
"""


def type_name(annotation: Any) -> str:
    """Names a type as a reader of YAML would."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0]) + "".join(f", {limit}" for limit in limits_of(arguments[1:]))
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        if len(inner_models(annotation)) > 1:
            return "one of the blocks below"
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is tuple:
        inner = [type_name(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in arguments else f"[{', '.join(inner)}]"
    if origin is dict:
        return f"map of {type_name(arguments[0])} to {type_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    if origin is typing.Annotated:
        return type_name(arguments[0])
    names = {type(None): "null", str: "text", int: "whole number", float: "number", bool: "true or false"}
    names |= {Path: "path", Any: "anything"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def bounds(field: FieldInfo) -> str:
    """Writes the range of a field, such as `> 0, ≤ 1`."""
    return ", ".join(limits_of(field.metadata))


def limits_of(metadata: Iterable[Any]) -> list[str]:
    """Writes each limit that a field or a part of its type carries."""
    signs = {Gt: ("> ", "gt"), Ge: ("≥ ", "ge"), Lt: ("< ", "lt"), Le: ("≤ ", "le")}
    signs |= {MultipleOf: ("multiple of ", "multiple_of")}
    signs |= {MinLen: ("at least ", "min_length"), MaxLen: ("at most ", "max_length")}
    return [
        f"{sign}{getattr(limit, name)}" + (" entries" if name.endswith("length") else "")
        for limit in metadata
        for kind, (sign, name) in signs.items()
        if isinstance(limit, kind)
    ]


def default_of(field: FieldInfo) -> str:
    """Writes a field's default as YAML would have it."""
    if field.is_required():
        return "required"
    value = field.default
    if field.default_factory is dict:
        return "`{}`"
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "see below" if inner_models(field.annotation) else "`{}`"
    if isinstance(value, bool) or value is None:
        return f"`{str(value).lower()}`" if value is not None else "`null`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}`"
    return f"`{value}`" if value != "" else "empty"


def inner_models(annotation: Any) -> list[type[BaseModel]]:
    """Finds the models inside a type such as `dict[str, Model]` or `tuple[One | Other, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in typing.get_args(annotation) for inner in inner_models(argument)]


def suffix(annotation: Any) -> str:
    """Marks entries of a map or list in the name of a parameter."""
    origins = {typing.get_origin(annotation)}
    origins |= {typing.get_origin(argument) for argument in typing.get_args(annotation)}
    return ".<name>" if dict in origins else "[]" if tuple in origins else ""


def rows(model: type[BaseModel], prefix: str = "", shown: dict[type, str] | None = None) -> list[str]:
    """Makes one table row a field, with the fields of inner models below their own, each model once."""
    lines = []
    shown = {} if shown is None else shown
    for name, field in model.model_fields.items():
        limits = bounds(field)
        kind = type_name(field.annotation) + (f", {limits}" if limits else "")
        inners = inner_models(field.annotation)
        meaning = field.description or ""
        if inners and inners[0] in shown:
            meaning = f"{meaning} Keys as in `{shown[inners[0]]}`.".strip()
        cells = (f"`{prefix}{name}`", kind, default_of(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        for inner in inners:
            if inner not in shown:
                shown[inner] = f"{prefix}{name}"
                lines += rows(inner, f"{prefix}{name}{suffix(field.annotation)}.", shown)
    return lines


def page() -> str:
    """Makes the whole page."""
    parts = [INTRODUCTION]
    for parameter, model, introduction in BLOCKS:
        head = ["| key | type | default | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"## `{parameter}`", "", introduction, "", *head, *rows(model), ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
