"""Every metric against slow code written from its definition, and the rules for empty masks."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.segmentation import FRAME_SCORE_COLUMNS, ScoreSettings, score_frame, score_frames


def border(mask: np.ndarray) -> list[tuple[int, int]]:
    """Foreground pixels with a background (or outside) neighbour above, below, left or right."""
    height, width = mask.shape
    found = []
    for y, x in np.argwhere(mask):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(not (0 <= v < height and 0 <= u < width) or not mask[v, u] for v, u in near):
            found.append((int(y), int(x)))
    return found


def oracle(
    prediction: np.ndarray, reference: np.ndarray, spacing: float, tolerance: float
) -> dict[str, float]:
    first, second = border(prediction), border(reference)

    def nearest(these, those):
        return [min(np.hypot(y - v, x - u) for v, u in those) * spacing for y, x in these]

    forth, back = nearest(first, second), nearest(second, first)
    both = forth + back
    shared = sum(1 for p, r in zip(prediction.flat, reference.flat, strict=True) if p and r)
    return {
        "dsc": 2 * shared / (prediction.sum() + reference.sum()),
        "iou": shared / (prediction | reference).sum(),
        "hd95": max(np.quantile(forth, 0.95), np.quantile(back, 0.95)),
        "assd": sum(both) / len(both),
        "nsd": sum(1 for distance in both if distance <= tolerance + 1e-9) / len(both),
    }


def blobs(seed: int, shape=(37, 29)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    masks = []
    for _ in range(2):
        mask = np.zeros(shape, bool)
        for _ in range(generator.integers(1, 4)):
            centre, radius = generator.uniform(0, shape), generator.uniform(2, 9, 2)
            mask |= ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1
        mask[generator.integers(0, shape[0]), generator.integers(0, shape[1])] = True
        masks.append(mask)
    return masks[0], masks[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [None, 0.1, 0.37])
def test_every_metric_equals_its_definition(seed, spacing):
    prediction, reference = blobs(seed)
    unit = "px" if spacing is None else "mm"
    found = score_frame(prediction, reference, spacing, nsd_tolerance_mm=0.5, nsd_tolerance_px=2.0)
    expected = oracle(prediction, reference, spacing or 1.0, 2.0 if spacing is None else 0.5)
    for metric, value in expected.items():
        name = metric if metric in ("dsc", "iou") else f"{metric}_{unit}"
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert found["empty_prediction"] == found["empty_reference"] == 0


def test_agrees_with_monai_called_whole():
    prediction, reference = blobs(11, (80, 60))
    pair = [torch.tensor(mask)[None, None].float() for mask in (prediction, reference)]
    found = score_frame(prediction, reference, 0.2, nsd_tolerance_mm=0.4)
    hausdorff = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=0.2)
    mean = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=0.2)
    surface = compute_surface_dice(*pair, class_thresholds=[0.4 + 1e-6], include_background=True, spacing=0.2)
    assert found["hd95_mm"] == pytest.approx(float(hausdorff), rel=1e-5)
    assert found["assd_mm"] == pytest.approx(float(mean), rel=1e-5)
    assert found["nsd_mm"] == pytest.approx(float(surface), rel=1e-5)


def test_a_shift_of_three_pixels_by_hand():
    reference = np.zeros((20, 30), np.uint8)
    reference[5:9, 5:25] = 1
    prediction = np.roll(reference, 3, axis=0)
    found = score_frame(prediction, reference, 0.5, nsd_tolerance_mm=1.5)
    assert found["dsc"] == pytest.approx(0.25)
    assert found["iou"] == pytest.approx(1 / 7)
    assert found["hd95_mm"] == pytest.approx(1.5)
    assert found["nsd_mm"] == 1.0
    assert score_frame(prediction, reference, 0.5, nsd_tolerance_mm=1.4)["nsd_mm"] < 1.0


@pytest.mark.parametrize(
    ("predicted", "referred", "overlap"), [(False, False, 1.0), (True, False, 0.0), (False, True, 0.0)]
)
def test_empty_masks(predicted, referred, overlap):
    prediction, reference = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    prediction[2:4, 2:4], reference[2:4, 2:4] = predicted, referred
    found = score_frame(prediction, reference, None)
    assert found["dsc"] == found["iou"] == found["nsd_px"] == overlap
    assert np.isnan(found["hd95_px"])
    assert np.isnan(found["assd_px"])
    assert (found["empty_prediction"], found["empty_reference"]) == (
        float(not predicted),
        float(not referred),
    )


def test_unknown_spacing_may_be_nan():
    mask = np.eye(5, dtype=np.uint8)
    assert "hd95_px" in score_frame(mask, mask, float("nan"))


masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


@settings(max_examples=60, deadline=None)
@given(st.data(), masks)
def test_bounds_symmetry_and_the_tie_of_iou_to_dsc(data, prediction):
    reference = data.draw(arrays.arrays(bool, prediction.shape))
    found, swapped = score_frame(prediction, reference), score_frame(reference, prediction)
    for metric in ("dsc", "iou", "nsd_px"):
        assert 0 <= found[metric] <= 1
    assert found["iou"] == pytest.approx(found["dsc"] / (2 - found["dsc"]))
    for metric in ("dsc", "iou", "hd95_px", "assd_px", "nsd_px"):
        assert found[metric] == pytest.approx(swapped[metric], nan_ok=True)
    same = score_frame(prediction, prediction)
    assert same["dsc"] == same["iou"] == same["nsd_px"] == 1


def test_masks_that_are_none_are_refused():
    with pytest.raises(CrossprobeError, match="native size"):
        score_frame(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
    with pytest.raises(CrossprobeError, match="255"):
        score_frame(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), bool))
    with pytest.raises(CrossprobeError, match="one mask"):
        score_frame(np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool))


def test_a_frame_takes_milliseconds():
    y, x = np.mgrid[:500, :700]
    wave = 30 * np.sin(x / 80)
    prediction, reference = (np.abs(y - 250 - shift - wave) < 12 for shift in (0, 10))
    start = time.perf_counter()
    for _ in range(10):
        score_frame(prediction, reference, 0.1)
    assert (time.perf_counter() - start) / 10 < 0.05


def manifest(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "site": "target",
            "device": "probe",
            "operator": "unknown",
            "view": "dorsal",
            "class": "intact",
            "patient": [f"p{index // 2}" for index in range(count)],
            "video": [f"v{index // 2}" for index in range(count)],
            "frame": range(count),
            "spacing_mm": [0.1, float("nan")] * (count // 2),
        }
    )


def test_scores_frames_into_a_long_table():
    frames = manifest(4)
    pairs = [blobs(seed) for seed in range(4)]
    probabilities = (np.where(prediction, 0.9, 0.2) for prediction, _ in pairs)
    table = score_frames("mim", frames, probabilities, (reference for _, reference in pairs), seed=3)
    assert list(table.columns) == [*FRAME_SCORE_COLUMNS, "seed"]
    assert set(table["metric"][table["frame"] == 0]) >= {"dsc", "hd95_mm", "ece", "brier", "empty_prediction"}
    assert "hd95_px" in set(table["metric"][table["frame"] == 1])
    value = table.query("frame == 2 and metric == 'dsc'")["value"].item()
    assert value == pytest.approx(score_frame(*pairs[2])["dsc"])


def test_masks_are_scored_without_calibration_and_the_threshold_counts():
    frames = manifest(2)
    prediction, reference = blobs(0)
    plain = score_frames("a", frames, [prediction] * 2, [reference] * 2)
    assert "ece" not in set(plain["metric"])
    strict = ScoreSettings(threshold=0.6)
    half = np.full(reference.shape, 0.5, np.float32)
    assert score_frames("a", frames, [half] * 2, [reference] * 2, strict)["value"][0] == 0
    kept = score_frames("a", frames, [half] * 2, [reference] * 2).query("metric == 'empty_prediction'")
    assert not kept["value"].any(), "the threshold itself is foreground"


def test_lengths_and_columns_must_match():
    frames, masks = manifest(2), [np.ones((3, 3), bool)]
    with pytest.raises(CrossprobeError, match="same order"):
        score_frames("a", frames, masks, masks * 2)
    with pytest.raises(CrossprobeError, match="spacing_mm"):
        score_frames("a", frames.drop(columns="spacing_mm"), masks * 2, masks * 2)


def smoothed(score: float, pixels: int) -> float:
    """What the public code's smoothing by 1 makes of an overlap over that many pixels."""
    return (score * pixels + 1) / (pixels + 1)


def test_overlaps_are_the_golden_ones_but_for_their_smoothing(golden):
    reference = golden("dicebce_metrics.npz")
    predicted, referred = reference["prob"][:, 0] >= 0.5, reference["target"][:, 0] > 0.5

    def published(prediction, mask):
        scores = score_frame(prediction, mask)
        union = int((prediction | mask).sum())
        counted = int(prediction.sum() + mask.sum())
        return [smoothed(scores["dsc"], counted), smoothed(scores["iou"], union)]

    size = predicted.shape[-1]
    batch = published(predicted.reshape(-1, size), referred.reshape(-1, size))
    # The published figures were computed in float32.
    np.testing.assert_allclose(batch, reference["metrics_batch4"], rtol=1e-6)
    each = [published(*pair) for pair in zip(predicted, referred, strict=True)]
    np.testing.assert_allclose(each, reference["metrics_per_image"], rtol=1e-6)
    nothing = np.zeros((size, size), bool)
    assert published(nothing, nothing) == reference["metrics_empty_vs_empty"].tolist()
