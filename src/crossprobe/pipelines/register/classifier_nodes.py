"""Nodes that make a model of a classifier, examine it and decide about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.pipelines.classification.images import labelled_rows
from crossprobe.pipelines.classification.settings import ClassifierTraining
from crossprobe.pipelines.model import for_scoring
from crossprobe.pipelines.register.nodes import log_once
from crossprobe.pipelines.register.provenance import provenance, unseen_patients
from crossprobe.pipelines.register.settings import ClassifierRegistration
from crossprobe.prediction.package import Package
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.prediction.class_reader import ClassReader

log = logging.getLogger(__name__)

BATCH = 16


def package_classifier(
    registration: ClassifierRegistration,
    training: ClassifierTraining,
    prepared: FrameSettings,
    runtime: RuntimeSettings,
    frames: FrameStore,
    *data: Any,
    arm: str,
    members: tuple[str, ...],
    sites: tuple[str, ...],
    study: str,
) -> Package:
    """Joins weights, temperatures, preprocessing, the rule for reading and the hashes of everything behind.

    `data` is facts and split of each of the `sites` (the source first), then checkpoint and calibration of
    each of the `members`.
    """
    from crossprobe.fusion.ensemble import PLAIN
    from crossprobe.prediction.class_reader import ClassReader
    from crossprobe.prediction.package import Package, PackageBranch, PackageIndex
    from crossprobe.tracking import stage
    from crossprobe.training.runtime import resolve

    facts, splits = data[: 2 * len(sites) : 2], data[1 : 2 * len(sites) : 2]
    checkpoints, fits = data[2 * len(sites) :: 2], data[2 * len(sites) + 1 :: 2]
    index = PackageIndex(
        kind="classifier",
        arm=arm,
        branches=tuple(
            PackageBranch(name=name, temperature=fit["temperature"])
            for name, fit in zip(members, fits, strict=True)
        ),
        answer=PLAIN,
        frames=prepared,
        classes=tuple(checkpoints[0].config["model"]["classes"]),
        provenance=provenance(study, dict(zip(sites, zip(facts, splits, strict=True), strict=True))),
        run=stage.current().parent,
    )
    reader = ClassReader(Package(index, checkpoints), resolve(for_scoring(runtime)))
    rule = _reading(reader, frames, splits[0], training, registration)
    return Package(index.model_copy(update={"class_reading": rule}), checkpoints)


def log_classifier(
    package: Package,
    registration: ClassifierRegistration,
    arms: pd.DataFrame,
    study: str,
    scored: str,
) -> dict[str, Any]:
    """Logs the package with its card, unless the registry has this very model; names who is to be beaten."""
    from crossprobe.tracking.classifier_card import classifier_card, classifier_scores

    card = classifier_card(registration.name, package, scored, arms)
    return log_once(package, registration.name, study, card, classifier_scores(arms, scored))


def examine_classifier(
    frames: FrameStore,
    split: dict[str, Any],
    package: Package,
    logged: dict[str, Any],
    training: ClassifierTraining,
    registration: ClassifierRegistration,
    runtime: RuntimeSettings,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Figures of candidate and champion on held-out source patients, and how fast the candidate is."""
    from crossprobe.evaluation.classifier_gate import CANDIDATE, CHAMPION, compare_on_source
    from crossprobe.prediction.class_reader import ClassReader
    from crossprobe.training.runtime import resolve

    machine = resolve(for_scoring(runtime))
    readers, obstacle = {CANDIDATE: ClassReader(package, machine)}, ""
    if logged["champion"] is not None:
        champion, obstacle = _champion(package, logged, registration, machine)
        readers |= {} if champion is None else {CHAMPION: champion}
    rows = labelled_rows(frames, split, "test", package.index.classes, training.ignore_classes)
    for reader in readers.values():
        unseen = unseen_patients(reader.package, "source", split["parts"]["test"])
        rows = rows[frames.manifest["patient"].iloc[rows].isin(unseen).to_numpy()]
    answers = {model: _probabilities(reader, frames, rows) for model, reader in readers.items()}
    evidence = compare_on_source(
        frames.manifest.iloc[rows], answers, package.index.classes, registration.gate.statistics
    )
    image = frames.images(frames.rows(split["parts"]["test"])[:1])
    return evidence, {
        "latency_ms": _latency_ms(readers[CANDIDATE], image, registration.latency_repeats),
        "obstacle": obstacle,
    }


def decide_classifier(
    package: Package,
    logged: dict[str, Any],
    reload: dict[str, Any],
    source: pd.DataFrame,
    latency: dict[str, Any],
    registration: ClassifierRegistration,
) -> dict[str, Any]:
    """Registers the version as challenger and, if every check holds, makes it champion."""
    from crossprobe.evaluation.classifier_gate import ClassifierEvidence, judge_classifier
    from crossprobe.tracking import stage
    from crossprobe.tracking.decision import act

    evidence = ClassifierEvidence(
        source,
        1 / len(package.index.classes),
        latency["latency_ms"],
        reload["largest_difference"],
        logged["champion"],
        latency["obstacle"],
    )
    checks = judge_classifier(evidence, registration.gate)
    decision = act(package, logged, reload, checks, registration.name, stage.current())
    log.info("%s", decision["summary"])
    return decision


def _reading(
    reader: ClassReader,
    frames: FrameStore,
    split: dict[str, Any],
    training: ClassifierTraining,
    registration: ClassifierRegistration,
) -> Any:
    from crossprobe.prediction.class_reading import fit_class_reading
    from crossprobe.training.class_source import class_numbers

    rows = labelled_rows(frames, split, "val", reader.classes, training.ignore_classes)
    labels = class_numbers(frames.manifest.iloc[rows], reader.classes)
    return fit_class_reading(_probabilities(reader, frames, rows), labels, registration.reading)


def _champion(
    package: Package, logged: dict[str, Any], registration: ClassifierRegistration, machine: Any
) -> tuple[ClassReader | None, str]:
    """The champion, or why it cannot be compared on the same frames."""
    from crossprobe.errors import CrossprobeError
    from crossprobe.prediction.class_reader import ClassReader
    from crossprobe.tracking import stage
    from crossprobe.tracking.fetch import fetch_model

    version = f"version {logged['champion']}"
    try:
        uri = f"models:/{registration.name}/{logged['champion']}"
        champion = ClassReader(fetch_model(uri, stage.current().uri).package, machine)
    except CrossprobeError as error:
        return None, f"{version} cannot be compared: {error}"
    if champion.classes != package.index.classes:
        others, own = (", ".join(names) for names in (champion.classes, package.index.classes))
        return (
            None,
            f"{version} answers {others}, this one {own}: give this one a registration.name of its own",
        )
    if champion.package.index.frames != package.index.frames:
        return (
            None,
            f"{version} wants frames prepared in another way: they cannot be compared on the same ones",
        )
    return champion, ""


def _probabilities(reader: ClassReader, frames: FrameStore, rows: np.ndarray) -> np.ndarray:
    batches = np.array_split(rows, -(-len(rows) // BATCH)) if len(rows) else []
    found = [reader.probabilities(frames.images(batch)) for batch in batches]
    return np.concatenate(found) if found else np.zeros((0, len(reader.classes)))


def _latency_ms(reader: ClassReader, image: np.ndarray, repeats: int) -> float:
    """Median time from one frame to its probabilities, after two calls that are not timed."""
    from crossprobe.prediction.held_out import median_ms

    return median_ms(lambda: reader.probabilities(image), repeats)
