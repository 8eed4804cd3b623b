"""What a model shows on held-out frames of one site: Dice, confidence, steadiness, latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.geometry import unsquare
from crossprobe.evaluation.label_free import VARIANTS, perturb, undo
from crossprobe.fusion.confidence import entropy_confidence, margin_confidence
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.prediction.reading_rule import JudgedFrame, frame_confidence
from crossprobe.progress import track

BATCH = 16


def probabilities(ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    """Predicts with the only answer of an ensemble.

    Args:
        ensemble: With one answer.
        images: uint8 [B, S, S].

    Returns:
        float32 [B, S, S].
    """
    (fused,) = ensemble.predict(images).values()
    return fused.probability.squeeze(1).cpu().numpy()


def judged_frames(
    ensemble: Ensemble, store: FrameStore, rows: np.ndarray, threshold: float
) -> tuple[list[JudgedFrame], pd.DataFrame]:
    """Compares masks with labels at native size, inside the crop.

    Args:
        ensemble: With one answer.
        store: Opened with labels.
        rows: Labelled rows.
        threshold: Probability from which a pixel is foreground.

    Returns:
        Confidence and Dice of each frame; and mean Dice by patient, `patient, value`.
    """
    (answer,) = ensemble.answers.values()
    how = margin_confidence if answer.confidence == "margin" else entropy_confidence
    frames, table = [], []
    for batch in _batches(rows, "judging frames"):
        (fused,) = ensemble.predict(store.images(batch)).values()
        maps = fused.probability.squeeze(1).cpu().numpy()
        sure = how(fused.probability).squeeze(1).cpu().numpy()
        for place, row in enumerate(batch):
            entry = store.manifest.iloc[int(row)]
            height, width = int(entry["height"]), int(entry["width"])
            native = unsquare(np.ascontiguousarray(maps[place]), height, width)
            confidence = unsquare(np.ascontiguousarray(sure[place]), height, width)
            dsc = dice(native >= threshold, store.native_mask(int(row)).astype(bool))
            frames.append(JudgedFrame(frame_confidence(native, confidence, threshold), dsc))
            table.append((entry["patient"], entry["video"], dsc))
    return frames, _patients(table)


def steadiness(ensemble: Ensemble, store: FrameStore, rows: np.ndarray, threshold: float) -> pd.DataFrame:
    """Measures how far masks stay the same when a frame is mirrored, darker or brighter, where there are any.

    Two empty masks are no evidence of steadiness and are left out: they would make a model that finds nothing
    the steadiest of all.

    Args:
        ensemble: With one answer.
        store: Opened without labels.
        rows: Frames.
        threshold: Probability from which a pixel is foreground.

    Returns:
        By patient `patient, value, found`: mean Dice of a mask with those of the changed frame, NaN where all
        are empty; and the share of frames whose own mask is not.
    """
    table, found = [], []
    for batch in _batches(rows, "measuring steadiness"):
        images = store.images(batch)
        plain = probabilities(ensemble, images) >= threshold
        changed = [
            undo(probabilities(ensemble, perturb(images, variant)), variant) >= threshold
            for variant in VARIANTS
        ]
        for place, row in enumerate(batch):
            entry = store.manifest.iloc[int(row)]
            own = plain[place]
            pairs = [other[place] for other in changed if own.any() or other[place].any()]
            agreement = float(np.mean([dice(own, other) for other in pairs])) if pairs else np.nan
            table.append((entry["patient"], entry["video"], agreement))
            found.append((entry["patient"], entry["video"], float(own.any())))
    return _patients(table).assign(found=_patients(found)["value"])


def latency_ms(ensemble: Ensemble, image: np.ndarray, repeats: int) -> float:
    """Times the way from one frame to its probabilities on this machine.

    Args:
        ensemble: Any.
        image: uint8 [S, S].
        repeats: Timed calls, after two that are not.

    Returns:
        Median of the calls, ms.
    """
    return median_ms(lambda: probabilities(ensemble, image[None]), repeats)


def median_ms(ask: Callable[[], object], repeats: int) -> float:
    """Times a call on this machine.

    Args:
        ask: The call.
        repeats: Timed calls, after two that are not.

    Returns:
        Median of the calls, ms.
    """
    seconds = []
    for call in range(repeats + 2):
        start = time.perf_counter()
        ask()
        if call >= 2:
            seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two boolean masks; two empty ones agree."""
    both = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / both if both else 1.0


def _batches(rows: np.ndarray, title: str) -> Iterator[np.ndarray]:
    batches = np.array_split(rows, -(-len(rows) // BATCH)) if len(rows) else []
    return track(batches, title, total=len(batches))


def _patients(table: list[tuple[str, str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(table, columns=["patient", "video", "value"])
    videos = frame.groupby(["patient", "video"], as_index=False)["value"].mean()
    return videos.groupby("patient", as_index=False)["value"].mean()
