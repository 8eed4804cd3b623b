"""A site at a glance: frames of many patients, bare and with their reference outlines."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.geometry import unsquare
from crossprobe.reporting.style import REFERENCE_OUTLINE, drawing


def contact_sheet(store: FrameStore, patients: int = 6) -> Figure:
    """Draws one frame each of evenly spread patients; a lower row shows the outlines of masks.

    Frames with a mask are preferred; a site without any shows the others, and has no lower row.

    Args:
        store: Frames of one site, opened with labels.
        patients: Most patients.

    Returns:
        The figure.
    """
    rows = _one_frame_a_patient(store, patients)
    lines = 2 if store.manifest["labelled"].any() else 1
    with drawing():
        figure = Figure(figsize=(2.1 * len(rows), 2.2 * lines), layout="constrained")
        grid = figure.subplots(lines, len(rows), squeeze=False)
        for column, row in enumerate(rows):
            frame = store.manifest.iloc[int(row)]
            height, width = int(frame["height"]), int(frame["width"])
            image = unsquare(store.images(np.array([row]))[0].astype(np.float32), height, width)
            for axes in grid[:, column]:
                axes.imshow(image, cmap="gray", vmin=0, vmax=255)
                axes.set_axis_off()
            grid[0, column].set_title(f"{frame['view']}\n{frame['class']}".replace("_", " "), fontsize=8)
            mask = store.native_mask(int(row)) if frame["labelled"] else None
            if mask is not None and mask.any():
                grid[-1, column].contour(mask, levels=[0.5], colors=REFERENCE_OUTLINE, linewidths=1.2)
        return figure


def _one_frame_a_patient(store: FrameStore, patients: int) -> np.ndarray:
    labelled = np.flatnonzero(store.manifest["labelled"].to_numpy())
    if not len(labelled):
        labelled = np.arange(len(store))
    # Sorted by class and view first, so that evenly spread patients show all of them.
    table = store.manifest.iloc[labelled].assign(row=labelled)
    middles = table.groupby(["class", "view", "patient"], sort=True)["row"].agg(
        lambda rows: rows.iloc[len(rows) // 2]
    )
    first = middles.reset_index().drop_duplicates("patient")["row"].to_numpy()
    places = np.linspace(0, len(first) - 1, min(patients, len(first))).round().astype(int)
    return first[np.unique(places)]
