"""Panels of what classifiers look at: test images with the Grad-CAM of each arm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from crossprobe.data.frame_store import FrameStore
from crossprobe.evaluation.grad_cam import grad_cam
from crossprobe.fusion.class_predictor import ClassifierPredictor
from crossprobe.reporting.style import arm_label, drawing


def images_to_show(frames: FrameStore, rows: np.ndarray, count: int) -> np.ndarray:
    """Takes images of different patients, class by class in turn: chosen before anybody looked at an answer.

    Args:
        frames: Frames of one site.
        rows: Rows to choose from.
        count: Most images.

    Returns:
        Rows, ordered by class.
    """
    table = frames.manifest.iloc[rows][["class", "patient"]].assign(row=rows)
    table = table.sort_values(["class", "patient", "row"]).drop_duplicates("patient")
    table["turn"] = table.groupby("class").cumcount()
    chosen = table.sort_values(["turn", "class"], kind="stable").head(count)
    return chosen.sort_values(["class", "turn"])["row"].to_numpy()


def cam_panels(
    predictors: Mapping[str, ClassifierPredictor], frames: FrameStore, rows: np.ndarray, count: int
) -> Figure:
    """Draws a row an image: the image, and for every arm what speaks for the class it names.

    Args:
        predictors: Classifiers by arm.
        frames: Frames of one site, opened with labels.
        rows: Test rows.
        count: Most images.

    Returns:
        The figure; above each map stand the class named and its probability.
    """
    chosen = images_to_show(frames, rows, count)
    images = frames.images(chosen)
    truth = frames.manifest["class"].iloc[chosen].tolist()
    with drawing():
        width = 1 + len(predictors)
        figure = Figure(
            figsize=(1.75 * width, 0.3 + 1.9 * len(chosen)), layout="constrained", facecolor="white"
        )
        grid = figure.subplots(len(chosen), width, squeeze=False)
        for axes in grid.ravel():
            axes.set_axis_off()
        for line, (image, name) in enumerate(zip(images, truth, strict=True)):
            grid[line, 0].imshow(image, cmap="gray", vmin=0, vmax=255)
            grid[line, 0].set_title(f"truth: {name}", fontsize=8)
        for column, (arm, predictor) in enumerate(predictors.items(), start=1):
            answers = predictor.probabilities(images).cpu().numpy()
            named = answers.argmax(1)
            maps = grad_cam(predictor, images, named)
            for line, image in enumerate(images):
                axes = grid[line, column]
                axes.imshow(image, cmap="gray", vmin=0, vmax=255)
                axes.imshow(
                    maps[line],
                    cmap="inferno",
                    vmin=0,
                    vmax=1,
                    alpha=0.45,
                    extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5),
                )
                guess = f"{predictor.classes[named[line]]} {answers[line].max():.2f}"
                head = f"{arm_label(arm)}\n" if line == 0 else ""
                axes.set_title(head + guess, fontsize=8)
    return figure
