"""Scores an arm on the labelled frames of one site, in native pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.geometry import unsquare
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.evaluation.segmentation import score_frames
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.progress import track

TRUTH_SUFFIX = "_truth"


def score_site(
    ensemble: Ensemble, store: FrameStore, rows: np.ndarray, settings: SiteScoring, title: str = "score"
) -> pd.DataFrame:
    """Predicts frames, brings the probabilities back to native pixels and scores them.

    Where the true mask is known beside the annotator's (the phantom), overlap with it is scored too, under
    `dsc_truth`: what no clinical set can tell.

    Args:
        ensemble: The arm, with one or several answers.
        store: Frames of one site, opened with labels.
        rows: Labelled rows to score.
        settings: Batch size and metrics.
        title: Shown beside the progress bar.

    Returns:
        Long table of frame scores (see `score_frames`), every answer an arm of its own.
    """
    parts = []
    batches = np.array_split(rows, max(1, -(-len(rows) // settings.batch_size)))
    for batch in track(batches, title, total=len(batches)):
        frames = store.manifest.iloc[batch]
        references = [store.native_mask(int(row)) for row in batch]
        for arm, fused in ensemble.predict(store.images(batch)).items():
            native = list(_native(fused.probability.squeeze(1).cpu().numpy(), frames))
            parts.append(score_frames(arm, frames, native, references, settings.scores))
            known = frames["truth_path"].notna().to_numpy()
            if known.any():
                parts.append(_against_truth(arm, store, batch[known], frames[known], native, known, settings))
    return pd.concat(parts, ignore_index=True)


def _native(probabilities: np.ndarray, frames: pd.DataFrame) -> Iterator[np.ndarray]:
    for probability, height, width in zip(probabilities, frames["height"], frames["width"], strict=True):
        yield unsquare(np.ascontiguousarray(probability, dtype=np.float32), int(height), int(width))


def _against_truth(
    arm: str,
    store: FrameStore,
    rows: np.ndarray,
    frames: pd.DataFrame,
    native: list[np.ndarray],
    known: np.ndarray,
    settings: SiteScoring,
) -> pd.DataFrame:
    truths = [store.native_truth(int(row)) for row in rows]
    chosen = [probability for probability, wanted in zip(native, known, strict=True) if wanted]
    table = score_frames(arm, frames, chosen, truths, settings.scores)
    table = table[table["metric"] == "dsc"]
    return table.assign(metric="dsc" + TRUTH_SUFFIX)
