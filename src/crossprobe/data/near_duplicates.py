"""Finds patients who share near-identical frames, so that a split can keep them in one part."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.leakage import (
    CHUNK,
    LeakSettings,
    signature_blocks,
    smallest_correlation,
    spread_rows,
)


def duplicate_groups(store: FrameStore, settings: LeakSettings, new: Collection[str]) -> list[set[str]]:
    """Groups patients through frames that are identical or near-identical, as the leak audit sees it.

    Only pairs with a new patient are compared: those that are known were compared when they came.

    Args:
        store: The site's frames; labels are not needed.
        settings: What counts as the same.
        new: Patients who are in no part yet.

    Returns:
        Groups of two patients or more, disjoint, each with a new one in it, sorted.
    """
    manifest = store.manifest
    if not set(new) & set(manifest["patient"]):
        return []
    leader: dict[str, str] = {}

    def find(patient: str) -> str:
        while leader.setdefault(patient, patient) != patient:
            patient = leader[patient]
        return patient

    for one, other in [*_identical(store), *_alike(store, settings, new)]:
        first, second = sorted((find(one), find(other)))
        leader[second] = first
    groups: dict[str, set[str]] = {}
    for patient in list(leader):
        groups.setdefault(find(patient), set()).add(patient)
    found = [group for group in groups.values() if len(group) > 1 and group & set(new)]
    return sorted(found, key=sorted)


def _identical(store: FrameStore) -> list[tuple[str, str]]:
    """Pairs of patients who share a frame, pixel for pixel."""
    if "content" not in store.manifest.columns:
        return []
    frames = store.manifest["content"].str.partition("-")[0]
    holders = store.manifest.groupby(frames.to_numpy())["patient"].unique()
    shared = [sorted(patients) for patients in holders if len(patients) > 1]
    return sorted({(patients[0], other) for patients in shared for other in patients[1:]})


def _alike(store: FrameStore, settings: LeakSettings, new: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of a new patient and another with frames that correlate."""
    rows = spread_rows(store.manifest, settings.frames_per_video)
    patients = store.manifest["patient"].to_numpy(dtype=object)[rows]
    smallest = smallest_correlation(store, settings)
    pairs: set[tuple[str, str]] = set()
    is_new = np.isin(patients.astype(str), sorted(new))
    starts = range(0, len(rows), CHUNK)
    with signature_blocks(store, rows) as block:
        for start in starts:
            piece = start + np.flatnonzero(is_new[start : start + CHUNK])
            if not len(piece):
                continue
            described = block(start)[piece - start]
            for beside in starts:
                for one, other in np.argwhere(described @ block(beside).T >= smallest):
                    first, second = str(patients[piece[one]]), str(patients[beside + other])
                    if first != second:
                        pairs.add((first, second))
    return sorted(pairs)
