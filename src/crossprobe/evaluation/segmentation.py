"""Scores of one frame and of many: overlap and surface distances at native resolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from monai.metrics.utils import get_mask_edges, get_surface_distance

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.calibration import brier_score
from crossprobe.evaluation.score_settings import ScoreSettings
from crossprobe.fusion.temperature import expected_calibration_error
from crossprobe.progress import track

IDENTITY = ("site", "device", "operator", "view", "class", "patient", "video", "frame")
FRAME_SCORE_COLUMNS = ("arm", *IDENTITY, "metric", "value")


def no_scores() -> pd.DataFrame:
    """The table of scores where there is nothing to score: the columns of `score_frames` and no row."""
    kinds = {name: "float64" if name == "value" else "str" for name in FRAME_SCORE_COLUMNS}
    return pd.DataFrame(columns=list(FRAME_SCORE_COLUMNS)).astype({**kinds, "frame": "int64"})


def surface_distances(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from every border pixel of one mask to the nearest border pixel of the other, both ways.

    The border of a mask is its foreground less its erosion by a cross; foreground at the image's edge counts
    as border. Both masks are cut to the box around their union first, which changes nothing but the time
    taken.

    Args:
        prediction: Boolean mask [H, W], not empty.
        reference: Boolean mask [H, W], not empty.

    Returns:
        Distances in pixels from the prediction's border [n] and from the reference's border [m].
    """
    union = prediction | reference
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    edges, reference_edges = get_mask_edges(prediction[box], reference[box], crop=False)
    forth = get_surface_distance(edges, reference_edges)
    back = get_surface_distance(reference_edges, edges)
    return np.asarray(forth, dtype=np.float64), np.asarray(back, dtype=np.float64)


def score_frame(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: float | None = None,
    nsd_tolerance_mm: float = 1.0,
    nsd_tolerance_px: float = 3.0,
) -> dict[str, float]:
    """Scores one predicted mask against its reference.

    `dsc` and `iou` are overlaps. `hd95` is the larger of the two directed 95th percentiles of border
    distance, `assd` the mean over both borders together, `nsd` the share of both borders within the tolerance
    (normalised surface Dice). Those three end in `_mm` where the spacing is known and in `_px` where it is
    not, so that the two are never averaged together.

    Two empty masks agree: overlaps and `nsd` are 1. One empty mask: they are 0. Distances do not exist in
    either case: they are NaN, left out of means, and counted by `empty_prediction` and `empty_reference`.

    Args:
        prediction: Mask [H, W] of 0 and 1 at native resolution.
        reference: Mask [H, W] of 0 and 1.
        spacing_mm: Millimetres a pixel, the same both ways; None or NaN where unknown.
        nsd_tolerance_mm: Border error forgiven where the spacing is known.
        nsd_tolerance_px: Border error forgiven, in pixels, where it is not.

    Returns:
        Value by metric name: `dsc`, `iou`, `hd95_*`, `assd_*`, `nsd_*`, `empty_prediction`,
        `empty_reference`.

    Raises:
        CrossprobeError: The shapes differ, or a mask holds anything but 0 and 1.
    """
    predicted, referred = _as_mask(prediction, "prediction"), _as_mask(reference, "reference")
    if predicted.shape != referred.shape:
        raise CrossprobeError(
            f"prediction is {predicted.shape} and reference {referred.shape}: "
            "bring the prediction back to native size before scoring"
        )
    known = spacing_mm is not None and np.isfinite(spacing_mm)
    unit, scale = ("mm", float(spacing_mm)) if known and spacing_mm is not None else ("px", 1.0)
    tolerance = nsd_tolerance_mm if known else nsd_tolerance_px
    shared, both = int((predicted & referred).sum()), int(predicted.sum()) + int(referred.sum())
    empty_prediction, empty_reference = not predicted.any(), not referred.any()
    if empty_prediction or empty_reference:
        agreement = float(empty_prediction and empty_reference)
        scores = {"dsc": agreement, "iou": agreement}
        surfaces = {f"hd95_{unit}": np.nan, f"assd_{unit}": np.nan, f"nsd_{unit}": agreement}
    else:
        forth, back = (scale * distances for distances in surface_distances(predicted, referred))
        distances = np.concatenate([forth, back])
        scores = {"dsc": 2 * shared / both, "iou": shared / (both - shared)}
        surfaces = {
            f"hd95_{unit}": float(max(np.percentile(forth, 95), np.percentile(back, 95))),
            f"assd_{unit}": float(distances.mean()),
            # The hair's breadth lets a distance of exactly the tolerance count, however the spacing rounds.
            f"nsd_{unit}": float((distances <= tolerance * (1 + 1e-6)).mean()),
        }
    counts = {"empty_prediction": float(empty_prediction), "empty_reference": float(empty_reference)}
    return {**scores, **surfaces, **counts}


def _as_mask(values: np.ndarray, name: str) -> np.ndarray:
    """Gives the mask as booleans, or says what is wrong with it."""
    values = np.asarray(values)
    if values.ndim != 2:
        raise CrossprobeError(f"{name} has shape {values.shape}: one mask [height, width] is expected")
    mask = values.astype(bool)
    if values.dtype != bool and not np.array_equal(values, mask):
        found = np.setdiff1d(values, [0, 1])[:5]
        raise CrossprobeError(f"{name} holds values such as {found}: a mask of 0 and 1 is expected")
    return mask


def score_frames(
    arm: str,
    frames: pd.DataFrame,
    predictions: Iterable[np.ndarray],
    references: Iterable[np.ndarray],
    settings: ScoreSettings | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Scores one arm on many frames, one at a time, so that memory holds one frame whatever the site's size.

    Args:
        arm: Name of the arm.
        frames: Rows of a manifest, in the order of the predictions; needs the identity columns and
            `spacing_mm`.
        predictions: For each row the probability of foreground [H, W] (float, 0 to 1; thresholded here and
            also scored for calibration as `ece` and `brier`), or a mask of 0 and 1 (integer or boolean).
        references: For each row the reference mask [H, W] of 0 and 1.
        settings: How to score; the defaults where None.
        seed: Training seed of the arm, kept in a column of its own where given.

    Returns:
        Long table: `arm, site, device, operator, view, class, patient, video, frame, metric, value`, and
        `seed`.

    Raises:
        CrossprobeError: A column is missing, or predictions or references do not match the rows one to one.
    """
    settings = settings or ScoreSettings()
    missing = [column for column in (*IDENTITY, "spacing_mm") if column not in frames.columns]
    if missing:
        raise CrossprobeError(f"frames to score lack the columns {missing}: give rows of a manifest")
    records = frames[[*IDENTITY, "spacing_mm"]].to_dict("records")
    rows: list[dict[str, object]] = []
    triples = _matched(records, predictions, references)
    for record, prediction, reference in track(triples, f"score {arm}", total=len(records)):
        spacing_mm = record.pop("spacing_mm")
        for metric, value in _scores(prediction, reference, spacing_mm, settings).items():
            rows.append({"arm": arm, **record, "metric": metric, "value": value})
    table = pd.DataFrame(rows, columns=list(FRAME_SCORE_COLUMNS))
    return table if seed is None else table.assign(seed=seed)


def _matched(
    records: list[dict], predictions: Iterable[np.ndarray], references: Iterable[np.ndarray]
) -> Iterable[tuple[dict, np.ndarray, np.ndarray]]:
    """Walks rows, predictions and references side by side; a length that differs is an error, never a cut."""
    try:
        yield from zip(records, predictions, references, strict=True)
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise CrossprobeError(
            f"{len(records)} rows need as many predictions and references, in the same order: {error}"
        ) from error


def _scores(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: float | None, settings: ScoreSettings
) -> Mapping[str, float]:
    """Scores a frame given as probabilities or as a mask."""
    calibration = {}
    if np.issubdtype(np.asarray(prediction).dtype, np.floating):
        calibration = {
            "ece": expected_calibration_error(prediction, reference, settings.calibration_bins),
            "brier": brier_score(prediction, reference),
        }
        prediction = prediction >= settings.threshold
    tolerances = (settings.nsd_tolerance_mm, settings.nsd_tolerance_px)
    return {**score_frame(prediction, reference, spacing_mm, *tolerances), **calibration}
