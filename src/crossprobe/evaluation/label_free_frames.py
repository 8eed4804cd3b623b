"""Feeds the label-free choice: what every arm says about unlabelled target frames, and about changed ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from crossprobe.data.frame_store import FrameStore
from crossprobe.evaluation.label_free import VARIANTS, UnlabelledFrame, perturb, undo
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.progress import track


def unlabelled_frames(
    ensembles: Mapping[str, Ensemble], store: FrameStore, rows: np.ndarray, batch_size: int
) -> Iterator[UnlabelledFrame]:
    """Predicts frames and their perturbed variants with every arm.

    Args:
        ensembles: Arms by name; an ensemble with several answers gives several arms.
        store: Target frames, opened without labels.
        rows: Rows of the selection part, those of one video together and in order.
        batch_size: Frames predicted at a time; changes nothing in the result.

    Yields:
        One item a frame, in the order of the rows.
    """
    for batch in track(np.array_split(rows, max(1, -(-len(rows) // batch_size))), "choosing without labels"):
        images = store.images(batch)
        plain = _all_arms(ensembles, images)
        changed = [
            {
                arm: undo(values, variant)
                for arm, values in _all_arms(ensembles, perturb(images, variant)).items()
            }
            for variant in VARIANTS
        ]
        for place, row in enumerate(batch):
            frame = store.manifest.iloc[int(row)]
            yield UnlabelledFrame(
                frame["patient"],
                frame["video"],
                {arm: values[place] for arm, values in plain.items()},
                {arm: [variant[arm][place] for variant in changed] for arm in plain},
            )


def _all_arms(ensembles: Mapping[str, Ensemble], images: np.ndarray) -> dict[str, np.ndarray]:
    return {
        arm: fused.probability.squeeze(1).cpu().numpy()
        for ensemble in ensembles.values()
        for arm, fused in ensemble.predict(images).items()
    }


def spread_over_videos(store: FrameStore, patients: list[str], frames_per_video: int) -> np.ndarray:
    """Takes evenly spread frames of every video, so that a long sweep does not outvote the others.

    Args:
        store: Frames.
        patients: Whose videos.
        frames_per_video: Most frames of one video.

    Returns:
        int64 rows, ascending.
    """
    rows = store.rows(patients)
    videos = store.manifest["video"].to_numpy()[rows]
    chosen = []
    for video in np.unique(videos):
        own = rows[videos == video]
        places = np.linspace(0, len(own) - 1, min(frames_per_video, len(own)))
        chosen.append(own[np.unique(places.round().astype(np.int64))])
    return np.sort(np.concatenate(chosen))
