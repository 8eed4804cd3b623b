"""Chooses frames to show, asks every arm, and draws panels and fusion weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.geometry import unsquare
from crossprobe.evaluation.segmentation import score_frame
from crossprobe.fusion.confidence import Fused
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.reporting.panels import (
    PredictionPanel,
    WeightPanel,
    fusion_weight_maps,
    prediction_panels,
)


def frames_to_show(store: FrameStore, patients: Sequence[str], count: int) -> np.ndarray:
    """Takes the middle labelled frame of evenly spread patients: chosen before anybody looked at a score.

    Where none of the patients has a label, the middle frame is taken instead.

    Args:
        store: Frames of one site, opened with labels.
        patients: Patients to choose from.
        count: Most frames.

    Returns:
        int64 rows, each of another patient.
    """
    middles = []
    labelled = True if len(store.rows(patients, labelled=True)) else None
    for patient in sorted(patients):
        rows = store.rows([patient], labelled=labelled)
        if len(rows):
            middles.append(int(rows[len(rows) // 2]))
    places = np.linspace(0, len(middles) - 1, min(count, len(middles))).round().astype(int)
    return np.array([middles[place] for place in np.unique(places)], dtype=np.int64)


def draw(
    ensembles: Mapping[str, Ensemble],
    store: FrameStore,
    patients: Sequence[str],
    count: int,
    arms: Sequence[str] | None = None,
    threshold: float = 0.5,
) -> tuple[Figure, Figure | None]:
    """Draws predictions of all arms, beside the reference if there is one, and the first fused one's weights.

    Args:
        ensembles: Arms by name.
        store: Frames of one site, opened with labels.
        patients: Patients to choose frames from.
        count: Most frames.
        arms: Arms drawn; all where None.
        threshold: A pixel is foreground at this probability or above.

    Returns:
        Prediction panels; weight maps, or None where nothing is fused.
    """
    rows = frames_to_show(store, patients, count)
    images = store.images(rows)
    answers = {name: ensemble.predict(images) for name, ensemble in ensembles.items()}
    panels, weights = [], []
    for place, row in enumerate(rows):
        frame = store.manifest.iloc[int(row)]
        height, width = int(frame["height"]), int(frame["width"])
        reference = store.native_mask(int(row)) if frame["labelled"] else None
        spacing = float(frame["spacing_mm"])
        masks = {
            arm: _native(fused.probability[place], height, width) >= threshold
            for answer in answers.values()
            for arm, fused in answer.items()
            if arms is None or arm in arms
        }
        scores = {}
        if reference is not None:
            scores = {
                arm: score_frame(mask, reference, None if np.isnan(spacing) else spacing)["dsc"]
                for arm, mask in masks.items()
            }
        image = _native_image(images[place], height, width)
        view = str(frame["view"]).replace("_", " ")
        title = f"{frame['patient']}\n{view} · {frame['frame']}"
        panels.append(PredictionPanel(title, image, masks, reference, scores))
        weights += _weight_panel(ensembles, answers, place, title, image, reference, threshold)
    figure = prediction_panels(panels)
    return figure, fusion_weight_maps(weights) if weights else None


def _weight_panel(
    ensembles: Mapping[str, Ensemble],
    answers: Mapping[str, Mapping[str, Fused]],
    place: int,
    title: str,
    image: np.ndarray,
    reference: np.ndarray | None,
    threshold: float,
) -> list[WeightPanel]:
    """The weights of the first answer that weighs pixels, or nothing."""
    for name, ensemble in ensembles.items():
        for arm, how in ensemble.answers.items():
            if len(ensemble.predictor.branches) < 2 or how.confidence == "average":
                continue
            fused = answers[name][arm]
            height, width = image.shape
            maps = {
                branch: _native(weight[place], height, width)
                for branch, weight in zip(ensemble.branch_names, fused.weights, strict=True)
            }
            mask = _native(fused.probability[place], height, width) >= threshold
            return [WeightPanel(title, image, maps, mask, reference)]
    return []


def _native(values: Tensor, height: int, width: int) -> np.ndarray:
    return unsquare(np.ascontiguousarray(values.squeeze(0).cpu().numpy(), dtype=np.float32), height, width)


def _native_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return unsquare(image.astype(np.float32), height, width).round().clip(0, 255).astype(np.uint8)
