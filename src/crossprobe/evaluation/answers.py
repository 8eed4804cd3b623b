"""What classifiers answer for the images of a site: plain, calibrated, augmented, by dropout, together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import nn

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.class_metrics import predictive_entropy
from crossprobe.evaluation.classification import PREFIX, classes_of, prediction_table
from crossprobe.fusion.class_predictor import ClassifierPredictor, average_and_vote


def answer_images(
    predictor: ClassifierPredictor,
    frames: FrameStore,
    rows: np.ndarray,
    arm: str,
    batch_size: int = 32,
    augment: bool = True,
    passes: int = 20,
) -> pd.DataFrame:
    """Classifies images in every way asked for.

    Args:
        predictor: A classifier with its temperature.
        frames: A store.
        rows: Which images.
        arm: Name of the arm.
        batch_size: Images at a time.
        augment: Whether to answer by test-time augmentation too.
        passes: Passes of MC dropout; 0, or a model without dropout, leaves that answer out.

    Returns:
        Tables of `prediction_table`, stacked: `plain` (as trained), `calibrated`, `tta`, `mc_dropout`.
    """
    dropping = any(part.p > 0 for part in predictor.module.modules() if isinstance(part, nn.Dropout))
    collected: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(rows), batch_size):
        images = frames.images(rows[start : start + batch_size])
        logits = predictor.logits(images)
        answers = {"plain": logits.softmax(1), "calibrated": (logits / predictor.temperature).softmax(1)}
        if augment:
            answers["tta"] = predictor.augmented_probabilities(images)
        if passes and dropping:
            answers["mc_dropout"] = predictor.dropout_probabilities(images, passes, seed=start).mean(0)
        for name, values in answers.items():
            collected.setdefault(name, []).append(values.cpu().numpy())
    manifest = frames.manifest.iloc[rows]
    tables = []
    for name, parts in collected.items():
        shares = np.concatenate(parts).astype(np.float64)
        shares /= shares.sum(1, keepdims=True)
        tables.append(
            prediction_table(arm, name, manifest, shares, predictor.classes, predictive_entropy(shares))
        )
    return pd.concat(tables, ignore_index=True)


def ensemble_predictions(predictions: pd.DataFrame, name: str, members: Sequence[str]) -> pd.DataFrame:
    """Joins arms image by image, by the mean of their calibrated probabilities and by vote.

    Args:
        predictions: Tables of `prediction_table`, stacked.
        name: Name of the ensemble; its arms are `<name>_average` and `<name>_vote`.
        members: Arms.

    Returns:
        Their rows, as the answer `plain`.

    Raises:
        CrossprobeError: The members did not answer for the same images.
    """
    classes = classes_of(predictions)
    parts = []
    calibrated = predictions[predictions["answer"] == "calibrated"]
    for site, here in calibrated.groupby("site", sort=False):
        tables = [
            here[here["arm"] == member].sort_values(["video", "frame"]).reset_index(drop=True)
            for member in members
        ]
        keys = [table[["patient", "video", "frame"]] for table in tables]
        if any(not keys[0].equals(other) for other in keys[1:]):
            raise CrossprobeError(
                f"ensemble {name}: its members {', '.join(members)} were tested on different images of "
                f"{site}; join arms of one split"
            )
        values = [table[[PREFIX + label for label in classes]].to_numpy() for table in tables]
        for kind, joined in zip(("average", "vote"), average_and_vote(values), strict=True):
            uncertainty = predictive_entropy(joined)
            parts.append(prediction_table(f"{name}_{kind}", "plain", tables[0], joined, classes, uncertainty))
    return pd.concat(parts, ignore_index=True)
