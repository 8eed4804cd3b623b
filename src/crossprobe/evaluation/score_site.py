"""Scores an arm on the labelled frames of one site, in native pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.geometry import unsquare
from crossprobe.data.mask_files import read_pieces
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.evaluation.segmentation import no_scores, score_frames
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
        Long table of frame scores (see `score_frames`), every answer an arm of its own; without a row where
        there is no labelled frame.
    """
    if not len(rows):
        return no_scores()
    parts = []
    batches = _batches(rows, settings.batch_size)
    for batch in track(batches, title, total=len(batches)):
        frames = store.manifest.iloc[batch]
        for row in batch:
            store.native_mask(int(row))  # refuses a mask that was edited after the frames stage
        references = [read_pieces(Path(path)) for path in frames["mask_path"]]
        known = frames["truth_path"].notna().to_numpy()
        truths = [read_pieces(Path(path)) for path in frames["truth_path"][known]]
        for arm, fused in ensemble.predict(store.images(batch)).items():
            maps = fused.probability.squeeze(1).cpu().numpy()
            native = [
                on_whole_frame(probability, frame, reference.shape)
                for probability, (_, frame), reference in zip(
                    maps, frames.iterrows(), references, strict=True
                )
            ]
            parts.append(score_frames(arm, frames, native, references, settings.scores))
            if known.any():
                seen = [probability for probability, wanted in zip(native, known, strict=True) if wanted]
                parts.append(_against_truth(arm, frames[known], seen, truths, settings))
    return pd.concat(parts, ignore_index=True)


def labelled_probabilities(
    ensemble: Ensemble, arm: str, store: FrameStore, rows: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gives what one arm says of labelled frames beside their masks, on the model's grid.

    Args:
        ensemble: The arm.
        arm: Which of its answers; the others are not computed.
        store: Frames of one site, opened with labels.
        rows: Labelled rows.
        batch_size: Frames a forward pass.

    Yields:
        Probability [S, S] and mask [S, S] of each frame.
    """
    alone = ensemble.only(arm)
    for batch in _batches(rows, batch_size):
        fused = alone.predict(store.images(batch))[arm]
        yield from zip(fused.probability[:, 0].cpu().numpy(), store.masks(batch), strict=True)


def _batches(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // batch_size)) if len(rows) else []


def on_whole_frame(probability: np.ndarray, frame: pd.Series, shape: tuple[int, ...]) -> np.ndarray:
    """Brings a map from the model's square back to the frame as it was recorded.

    What the crop left out is background, so bone outside a crop that was too tight counts as missed.

    Args:
        probability: [S, S].
        frame: Row of the manifest.
        shape: Height and width of the recorded frame.

    Returns:
        float32 of that shape.
    """
    height, width, top, left = (int(frame[name]) for name in ("height", "width", "crop_top", "crop_left"))
    canvas = np.zeros(shape, dtype=np.float32)
    values = unsquare(np.ascontiguousarray(probability, dtype=np.float32), height, width)
    canvas[top : top + height, left : left + width] = values
    return canvas


def _against_truth(
    arm: str,
    frames: pd.DataFrame,
    probabilities: list[np.ndarray],
    truths: list[np.ndarray],
    settings: SiteScoring,
) -> pd.DataFrame:
    table = score_frames(arm, frames, probabilities, truths, settings.scores)
    table = table[table["metric"] == "dsc"]
    return table.assign(metric="dsc" + TRUTH_SUFFIX)
