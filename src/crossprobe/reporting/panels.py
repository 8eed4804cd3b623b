"""Panels of pixels: predictions against the reference, fusion weights, reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from crossprobe.reporting.style import (
    LIGHT,
    PREDICTION_OUTLINE,
    REFERENCE_OUTLINE,
    arm_label,
    drawing,
)


@dataclass(frozen=True)
class PredictionPanel:
    """One frame with what each arm says about it.

    Attributes:
        title: Says which frame: site, patient's pseudonym, view, frame number.
        image: uint8 [H, W].
        predictions: Mask [H, W] of 0 and 1 by arm.
        reference: Mask [H, W], where there is one.
        scores: Score written under each arm's panel.
    """

    title: str
    image: np.ndarray
    predictions: Mapping[str, np.ndarray]
    reference: np.ndarray | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightPanel:
    """One frame with the weight that fusion gives each branch.

    Attributes:
        title: Says which frame.
        image: uint8 [H, W].
        weights: Weight [H, W], 0 to 1, by branch; over branches they add to 1 at every pixel.
        fused: Fused mask [H, W].
        reference: Mask [H, W], where there is one.
    """

    title: str
    image: np.ndarray
    weights: Mapping[str, np.ndarray]
    fused: np.ndarray
    reference: np.ndarray | None = None


@dataclass(frozen=True)
class ReconstructionPanel:
    """One frame as masked image modelling sees it.

    Attributes:
        title: Says which frame.
        image: [H, W], uint8, or 0 to 1.
        masked: The same with patches removed.
        reconstruction: What the model painted in.
    """

    title: str
    image: np.ndarray
    masked: np.ndarray
    reconstruction: np.ndarray


def region_of_interest(
    masks: Sequence[np.ndarray], shape: tuple[int, int], margin: float = 0.2
) -> tuple[slice, slice]:
    """Finds the box worth enlarging: around every mask, with a margin, and never a sliver.

    Args:
        masks: Masks [H, W].
        shape: Height and width of the frame.
        margin: Margin on every side, as a share of the box's side.

    Returns:
        Slices of rows and columns; the whole frame where every mask is empty.
    """
    union = (
        np.logical_or.reduce([np.asarray(mask, dtype=bool) for mask in masks])
        if masks
        else np.zeros(shape, bool)
    )
    if not union.any():
        return slice(0, shape[0]), slice(0, shape[1])
    ends = [np.flatnonzero(union.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    stretch = 1 + 2 * margin
    longest = max(end - start + 1 for start, end in ends) * stretch
    spans = []
    for (start, end), limit in zip(ends, shape, strict=True):
        half, middle = max((end - start + 1) * stretch, longest / 2) / 2, (start + end + 1) / 2
        spans.append(slice(int(max(0, np.floor(middle - half))), int(min(limit, np.ceil(middle + half)))))
    return spans[0], spans[1]


def _show(axes: Axes, image: np.ndarray) -> None:
    """Shows a frame in grey, 0 black and full scale white, so that brightness compares between panels."""
    top = 255 if np.issubdtype(image.dtype, np.integer) else 1
    axes.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="bilinear")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _outline(axes: Axes, mask: np.ndarray | None, colour: str, width: float = 1.5) -> None:
    """Draws the edge of a mask, dark-rimmed so that it reads on bright bone too."""
    if mask is None or not np.any(mask):
        return
    # A rim of background lets the outline close at the frame's edge.
    padded = np.pad(np.asarray(mask, dtype=float), 1)
    columns, rows = np.arange(padded.shape[1]) - 1, np.arange(padded.shape[0]) - 1
    for each, thick, alpha in (("#000000", width + 1.3, 0.55), (colour, width, 1.0)):
        axes.contour(columns, rows, padded, levels=[0.5], colors=[each], linewidths=[thick], alpha=alpha)


def prediction_panels(panels: Sequence[PredictionPanel], columns: int = 7) -> Figure:
    """Draws for each frame the whole of it, then its region of interest for every arm.

    Args:
        panels: Frames; all with the same arms.
        columns: Panels side by side at most; a frame with more arms takes several lines.

    Returns:
        The figure.
    """
    count = 1 + len(panels[0].predictions)
    width = min(columns, count)
    lines = math.ceil(count / width)
    with drawing():
        size = (2.0 * width, 0.5 + 1.7 * lines * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(panels) * lines, width, squeeze=False).reshape(len(panels), -1)
        for row, panel in zip(grid, panels, strict=True):
            _prediction_row(list(row), panel)
            for axes in row[count:]:
                axes.set_visible(False)
        _outline_legend(figure, any(panel.reference is not None for panel in panels))
    return figure


def _prediction_row(row: Sequence[Axes], panel: PredictionPanel) -> None:
    """One frame: the whole, with the enlarged box dotted, then the box for every arm."""
    masks = [*panel.predictions.values(), *([] if panel.reference is None else [panel.reference])]
    box = region_of_interest(masks, (panel.image.shape[0], panel.image.shape[1]))
    _show(row[0], panel.image)
    _outline(row[0], panel.reference, REFERENCE_OUTLINE, 1.0)
    corner = (box[1].start - 0.5, box[0].start - 0.5)
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    row[0].add_patch(Rectangle(corner, *size, fill=False, edgecolor="#ffffff", linewidth=0.9, linestyle=":"))
    row[0].set_title(panel.title, fontsize=8)
    for axes, (arm, mask) in zip(row[1:], panel.predictions.items(), strict=False):
        _show(axes, panel.image[box])
        _outline(axes, None if panel.reference is None else panel.reference[box], REFERENCE_OUTLINE)
        _outline(axes, mask[box], PREDICTION_OUTLINE)
        score = panel.scores.get(arm)
        label = arm_label(arm) + ("" if score is None else f"\n{score:.3f}")
        axes.set_title(label, fontsize=8, fontweight="normal")


def _outline_legend(figure: Figure, referred: bool) -> None:
    handles = [Line2D([], [], color=PREDICTION_OUTLINE, linewidth=2.2, label="prediction")]
    if referred:
        handles.insert(0, Line2D([], [], color=REFERENCE_OUTLINE, linewidth=2.2, label="reference"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, labelcolor=LIGHT.ink)


def fusion_weight_maps(panels: Sequence[WeightPanel]) -> Figure:
    """Draws which branch fusion listens to at each pixel (S3-15).

    Args:
        panels: Frames; the branches of the first one set the columns.

    Returns:
        The figure: the frame with fused and reference outlines, then the weight of every branch on one scale.
    """
    branches = list(panels[0].weights)
    with drawing():
        figure = Figure(
            figsize=(2.3 * (1 + len(branches)) + 0.8, 0.55 + 2.1 * len(panels)), layout="constrained"
        )
        grid = figure.subplots(len(panels), 1 + len(branches), squeeze=False)
        for row, panel in zip(grid, panels, strict=True):
            _show(row[0], panel.image)
            _outline(row[0], panel.reference, REFERENCE_OUTLINE, 1.1)
            _outline(row[0], panel.fused, PREDICTION_OUTLINE, 1.1)
            row[0].set_title(panel.title, fontsize=8, fontweight="normal")
            for axes, branch in zip(row[1:], branches, strict=True):
                image = axes.imshow(
                    panel.weights[branch], cmap="PuOr_r", vmin=0, vmax=1, interpolation="nearest"
                )
                _outline(axes, panel.fused, "#ffffff", 0.9)
                axes.set_title(f"weight of {arm_label(branch)}", fontsize=8, fontweight="normal")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=grid[:, 1:], shrink=0.8, pad=0.02)
        bar.set_label("weight (½: both branches alike)")
        _outline_legend(figure, any(panel.reference is not None for panel in panels))
    return figure


def reconstruction_panels(panels: Sequence[ReconstructionPanel]) -> Figure:
    """Draws frames as seen, as masked and as reconstructed, with the absolute error.

    Args:
        panels: Frames.

    Returns:
        The figure.
    """
    with drawing():
        figure = Figure(figsize=(8.4, 0.3 + 2.1 * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), 4, squeeze=False)
        for row, panel in zip(grid, panels, strict=True):
            top = 255 if np.issubdtype(panel.image.dtype, np.integer) else 1
            views = (panel.image, panel.masked, np.clip(panel.reconstruction, 0, top))
            for axes, view, name in zip(row, views, (panel.title, "masked", "reconstructed"), strict=False):
                _show(axes, np.asarray(view, dtype=np.float32) / top)
                axes.set_title(name, fontsize=8, fontweight="normal")
            error = np.abs(views[2].astype(np.float32) - panel.image.astype(np.float32)) / top
            image = row[3].imshow(error, cmap="magma", vmin=0, vmax=0.5)
            row[3].set_title("absolute error", fontsize=8, fontweight="normal")
            row[3].set_xticks([])
            row[3].set_yticks([])
            row[3].spines[:].set_visible(False)
        figure.colorbar(image, ax=grid[:, 3], shrink=0.8, label="share of full scale")
    return figure
