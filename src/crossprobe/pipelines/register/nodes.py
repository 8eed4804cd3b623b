"""Nodes that make a model of an arm, examine it and decide about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import InvalidMetadata
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.pipelines.evaluation.nodes import SCORING_CODE
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.fusion.settings import FusedAnswers
from crossprobe.pipelines.model import for_scoring
from crossprobe.pipelines.register.provenance import provenance, unseen_patients
from crossprobe.pipelines.register.settings import ClassifierRegistration, RegistrationSettings
from crossprobe.pipelines.remembered import remembered
from crossprobe.prediction.package import Package
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.fusion.ensemble import FusedAnswer

log = logging.getLogger(__name__)

# What a model shows on held-out frames depends on this beside frames, package and settings.
EXAMINED_CODE = (*SCORING_CODE, "crossprobe.prediction", "crossprobe.pipelines.register.provenance")


@remembered(*EXAMINED_CODE)
def calibrate_reading(
    frames: FrameStore,
    split: dict[str, Any],
    registration: RegistrationSettings,
    fusion: FusedAnswers,
    scoring: SiteScoring,
    runtime: RuntimeSettings,
    folders: Folders,
    *trained: Any,
    arm: str,
    branches: tuple[str, ...],
) -> dict[str, Any]:
    """Finds on validation patients below which confidence a person should read a frame."""
    from crossprobe.fusion.ensemble import Ensemble
    from crossprobe.fusion.predictor import Predictor
    from crossprobe.prediction.held_out import judged_frames
    from crossprobe.prediction.reading_rule import fit_reading_rule
    from crossprobe.training.runtime import resolve

    ensemble = Ensemble(
        Predictor.from_checkpoints(trained[::2], resolve(for_scoring(runtime))),
        [fit["temperature"] for fit in trained[1::2]],
        {arm: _answer(registration, fusion, branches)},
        branches,
        [fit["bias"] for fit in trained[1::2]],
    )
    rows = frames.rows(split["parts"]["val"], labelled=True)
    judged, _ = judged_frames(ensemble, frames, rows, scoring.scores.threshold)
    return fit_reading_rule(judged, registration.reading).model_dump(mode="json")


def package(
    registration: RegistrationSettings,
    fusion: FusedAnswers,
    scoring: SiteScoring,
    frames: FrameSettings,
    reading: dict[str, Any],
    source: dict[str, Any],
    target: dict[str, Any],
    source_split: dict[str, Any],
    target_split: dict[str, Any],
    *trained: Any,
    arm: str,
    branches: tuple[str, ...],
    study: str,
) -> Package:
    """Joins weights, temperatures, preprocessing and the hashes of everything behind them."""
    from crossprobe.prediction.package import Package, PackageBranch, PackageIndex
    from crossprobe.prediction.reading_rule import ReadingRule
    from crossprobe.tracking import stage

    fits = trained[1::2]
    index = PackageIndex(
        kind="segmenter",
        arm=arm,
        branches=tuple(
            PackageBranch(name=name, temperature=fit["temperature"], bias=fit["bias"])
            for name, fit in zip(branches, fits, strict=True)
        ),
        answer=_answer(registration, fusion, branches),
        frames=frames,
        threshold=scoring.scores.threshold,
        reading=ReadingRule.model_validate(reading),
        provenance=provenance(study, {"source": (source, source_split), "target": (target, target_split)}),
        run=stage.current().parent,
    )
    return Package(index, trained[::2])


def log_model(
    package: Package, registration: RegistrationSettings, arms: pd.DataFrame, study: str
) -> dict[str, Any]:
    """Logs the package with its card, unless the registry has this very model; names who is to be beaten."""
    from crossprobe.tracking.model_card import model_card

    card = model_card(registration.name, package, arms)
    return log_once(package, registration.name, study, card, _scores(arms, registration, package))


def log_once(package: Package, name: str, study: str, card: str, scores: dict[str, str]) -> dict[str, Any]:
    """Logs a package of either kind where the registry does not have it yet.

    Args:
        package: Saved.
        name: Name of the registered model.
        study: Table of arms it comes from.
        card: Its card, Markdown.
        scores: Its scores as people read them, by name.

    Returns:
        `fingerprint`, `model_uri`, `scores`, the `version` it has already, and the `champion` to be beaten.
    """
    from crossprobe.tracking import stage
    from crossprobe.tracking.model_log import log_package
    from crossprobe.tracking.registry import FINGERPRINT, PREFIX, Registry

    run = stage.current()
    registry = Registry(run.uri, name)
    identity = package.index.fingerprint()
    known = registry.version_with(identity)
    logged = {
        "fingerprint": identity, "champion": registry.rival_of(known), "version": known, "scores": scores
    }  # fmt: skip
    if known is not None:
        return {**logged, "model_uri": f"models:/{name}/{known}"}
    assert package.folder is not None
    tags = {f"{PREFIX}study": study, FINGERPRINT: identity}
    return {**logged, "model_uri": log_package(package.folder, card, run.run, name, tags).model_uri}


def reload_model(
    frames: FrameStore,
    split: dict[str, Any],
    package: Package,
    logged: dict[str, Any],
    registration: RegistrationSettings | ClassifierRegistration,
    runtime: RuntimeSettings,
) -> dict[str, Any]:
    """Loads the logged model in a fresh process and compares it with the trained one on held-out frames.

    A version that is registered was compared when it was made; what was found then stands in its tags.
    """
    import json

    import numpy as np

    from crossprobe.prediction.open_reader import open_reader
    from crossprobe.tracking import stage
    from crossprobe.tracking.decision import RELOADED
    from crossprobe.tracking.registry import Registry
    from crossprobe.tracking.reload import predict_in_fresh_process
    from crossprobe.training.runtime import resolve

    uri = stage.current().uri
    if logged["version"] is not None:
        found = Registry(uri, registration.name).tags(logged["version"]).get(RELOADED)
        if found is not None:
            log.info("version %d was reloaded in a fresh process when it was made", logged["version"])
            return json.loads(found)
    rows = frames.rows(split["parts"]["test"])
    places = np.linspace(0, len(rows) - 1, min(len(rows), registration.reload_frames))
    images = frames.images(rows[np.unique(places.round().astype(np.int64))])
    reloaded = predict_in_fresh_process(logged["model_uri"], uri, images)
    trained = open_reader(package, resolve(for_scoring(runtime))).probabilities(images)
    difference = float(np.abs(reloaded - trained).max())
    log.info("reloaded in a fresh process: largest difference %.2g on %d frames", difference, len(images))
    return {"frames": len(images), "largest_difference": difference}


def examine_on_source(
    frames: FrameStore,
    split: dict[str, Any],
    package: Package,
    logged: dict[str, Any],
    registration: RegistrationSettings,
    runtime: RuntimeSettings,
    folders: Folders,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Dice of candidate and champion on held-out source patients, and how fast the candidate is."""
    from crossprobe.prediction.held_out import latency_ms
    from crossprobe.training.runtime import resolve

    models, obstacle = _models(package, logged, registration, runtime)
    evidence = [
        held_out_dsc(frames, split, model, runtime, folders).assign(model=name)
        for name, model in models.items()
    ]
    image = frames.images(frames.rows(split["parts"]["test"])[:1])[0]
    candidate = package.ensemble(resolve(for_scoring(runtime)))
    return pd.concat(evidence, ignore_index=True), {
        "latency_ms": latency_ms(candidate, image, registration.latency_repeats),
        "obstacle": obstacle,
    }


def examine_on_target(
    frames: FrameStore,
    split: dict[str, Any],
    package: Package,
    logged: dict[str, Any],
    registration: RegistrationSettings,
    runtime: RuntimeSettings,
    folders: Folders,
) -> pd.DataFrame:
    """How often candidate and champion find anything on target patients, how steadily; no label is read."""
    evidence = [
        held_out_steadiness(frames, split, model, registration.frames_per_video, runtime, folders).assign(
            model=name
        )
        for name, model in _models(package, logged, registration, runtime)[0].items()
    ]
    return pd.concat(evidence, ignore_index=True)


@remembered(*EXAMINED_CODE)
def held_out_dsc(
    frames: FrameStore, split: dict[str, Any], model: Package, runtime: RuntimeSettings, folders: Folders
) -> pd.DataFrame:
    """Dice by patient on source test patients whom the model has not learned from."""
    from crossprobe.prediction.held_out import judged_frames
    from crossprobe.training.runtime import resolve

    rows = frames.rows(unseen_patients(model, "source", split["parts"]["test"]), labelled=True)
    ensemble = model.ensemble(resolve(for_scoring(runtime)))
    return judged_frames(ensemble, frames, rows, model.index.threshold)[1]


@remembered(*EXAMINED_CODE)
def held_out_steadiness(
    frames: FrameStore,
    split: dict[str, Any],
    model: Package,
    frames_per_video: int,
    runtime: RuntimeSettings,
    folders: Folders,
) -> pd.DataFrame:
    """Steadiness by patient on target selection patients whom the model has not learned from."""
    from crossprobe.evaluation.label_free_frames import spread_over_videos
    from crossprobe.prediction.held_out import steadiness
    from crossprobe.training.runtime import resolve

    patients = unseen_patients(model, "target", split["parts"]["selection"])
    if not patients:
        return pd.DataFrame({"patient": [], "value": [], "found": []})
    rows = spread_over_videos(frames, patients, frames_per_video)
    return steadiness(model.ensemble(resolve(for_scoring(runtime))), frames, rows, model.index.threshold)


def decide(
    package: Package,
    logged: dict[str, Any],
    reload: dict[str, Any],
    source: pd.DataFrame,
    target: pd.DataFrame,
    latency: dict[str, Any],
    registration: RegistrationSettings,
) -> dict[str, Any]:
    """Registers the version as challenger and, if every check holds, makes it champion."""
    from crossprobe.evaluation.promotion_gate import Evidence, judge
    from crossprobe.tracking import stage
    from crossprobe.tracking.decision import act

    evidence = Evidence(
        source,
        target,
        latency["latency_ms"],
        reload["largest_difference"],
        logged["champion"],
        latency["obstacle"],
    )
    checks = judge(evidence, registration.gate)
    decision = act(package, logged, reload, checks, registration.name, stage.current())
    log.info("%s", decision["summary"])
    return decision


def _answer(
    registration: RegistrationSettings, fusion: FusedAnswers, branches: tuple[str, ...]
) -> FusedAnswer:
    from crossprobe.fusion.ensemble import PLAIN

    if len(branches) == 1:
        return PLAIN
    if registration.answer not in fusion.answers:
        raise InvalidMetadata(
            f"registration.answer is '{registration.answer}', expected one of {', '.join(fusion.answers)}"
        )
    return fusion.answers[registration.answer]


def _scores(arms: pd.DataFrame, registration: RegistrationSettings, package: Package) -> dict[str, str]:
    """Mean Dice of the arm on both sites' test patients, as people read it."""
    index = package.index
    arm = index.arm if len(index.branches) == 1 else f"{index.arm}_{registration.answer}"
    rows = arms[(arms["arm"] == arm) & (arms["metric"] == "dsc")].to_dict("records")
    return {
        f"{row['site']}_dsc": f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}] n={row['n_patients']}"
        for row in rows
    }


def _models(
    package: Package,
    logged: dict[str, Any],
    registration: RegistrationSettings,
    runtime: RuntimeSettings,
) -> tuple[dict[str, Package], str]:
    """The candidate and, where there is one that can be compared, the champion; else what is in the way."""
    from crossprobe.errors import CrossprobeError
    from crossprobe.tracking import stage
    from crossprobe.tracking.fetch import fetch_model
    from crossprobe.training.runtime import resolve

    models, version = {"candidate": package}, logged["champion"]
    if version is None:
        return models, ""
    try:
        champion = fetch_model(f"models:/{registration.name}/{version}", stage.current().uri).package
        champion.ensemble(resolve(for_scoring(runtime)))  # one that cannot be rebuilt must not stop the run
    except CrossprobeError as error:
        return models, f"version {version} cannot be compared: {error}"
    sizes = champion.index.frames.size, package.index.frames.size
    if sizes[0] != sizes[1]:
        return models, (
            f"version {version} takes images of {sizes[0]} px, this one of {sizes[1]}: they cannot be "
            "compared on the same frames"
        )
    return models | {"champion": champion}, ""
