"""One picture to judge the phantom by: views × probes × fracture, with and without outlines."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from crossprobe.phantom.bone import FractureKind
from crossprobe.phantom.settings import PhantomSettings, SiteName
from crossprobe.phantom.video import VideoJob, simulate_video

TRUTH_BGR, DRAWN_BGR, CAPTION_BGR = (90, 220, 60), (40, 190, 255), (255, 210, 120)


def outlined(frame: np.ndarray, truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Draws the true band in green and the annotator's in amber over a frame.

    Args:
        frame: uint8 [H, W].
        truth: 0/1 [H, W].
        drawn: 0/1 [H, W].

    Returns:
        uint8 BGR [H, W, 3].
    """
    picture = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    for mask, colour in ((truth, TRUTH_BGR), (drawn, DRAWN_BGR)):
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, colour, 1)
    return picture


def contact_sheet(
    settings: PhantomSettings,
    path: Path,
    sites: tuple[SiteName, ...] = ("source", "target"),
    kinds: tuple[FractureKind, ...] = ("none", "step", "buckle", "gap"),
    patient: int = 900,
) -> Path:
    """Writes the sheet: a row a site and view, two columns (bare and outlined) a kind of fracture.

    Args:
        settings: The phantom.
        path: PNG to write.
        sites: Which sites.
        kinds: Which fractures.
        patient: Number of the first patient shown; beyond the cohort, so that the sheet shows nobody in it.

    Returns:
        `path`.

    Raises:
        OSError: The file could not be written.
    """
    rows = []
    for site in sites:
        for view in settings.site(site).views:
            cells = []
            for order, kind in enumerate(kinds):
                video = simulate_video(settings, VideoJob(site, patient + order, view, kind))
                frame = sorted(video.masks)[len(video.masks) // 2]
                bare = cv2.cvtColor(video.frames[frame], cv2.COLOR_GRAY2BGR)
                marked = outlined(video.frames[frame], video.truths[frame], video.masks[frame])
                caption = f"{site}  {view}  {kind}"
                height = bare.shape[0]
                cv2.putText(
                    bare,
                    caption,
                    (bare.shape[1] // 3, height - 4),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.34,
                    CAPTION_BGR,
                    1,
                )
                cells += [bare, marked]
            rows.append(np.hstack(cells))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.vstack(rows)):
        raise OSError(f"{path}: could not write the contact sheet; is the suffix .png?")
    return path
