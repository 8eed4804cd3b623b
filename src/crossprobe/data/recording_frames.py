"""Turns one recording into stored frames: crop, drop blank and frozen ones, square, write."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crossprobe.data.array_file import FrameArrayWriter
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.geometry import square, square_mask
from crossprobe.data.manifest import Rejection
from crossprobe.data.mask_files import mask_files, mask_hash, read_mask
from crossprobe.data.media_limits import check_limits
from crossprobe.data.overlay import Overlay, fill_overlay, find_overlay
from crossprobe.data.preprocessing import cropped_area, preprocess
from crossprobe.data.ultrasound_area import Area, FrameStatistics, find_area
from crossprobe.data.video import media_kind, promised_frames, read_frames
from crossprobe.errors import UnreadableMedia

logger = logging.getLogger(__name__)
STAGE = "frames"
CARRIED = ("site", "device", "operator", "patient", "view", "video", "path", "spacing_mm", "class")


@dataclass
class RecordingFrames:
    """What came out of one recording: manifest rows, rejections and the tally."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    tally: dict[str, Any] = field(default_factory=dict)


class _Reasons:
    """Counts reasons, so that a clip with 300 blank frames gives one line and not 300."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def add(self, reason: str, first: str) -> None:
        count, start = self._counts.get(reason, (0, first))
        self._counts[reason] = (count + 1, start)

    def count(self, reason: str) -> int:
        return self._counts.get(reason, (0, ""))[0]

    def lines(self) -> list[str]:
        return [f"{count} x {reason} (first: {first})" for reason, (count, first) in self._counts.items()]


BLANK = "blank frame"
NO_OVERLAY = Overlay(np.zeros((0, 0), dtype=bool), 0)
FROZEN = "frozen frame, the same as the one before"


def write_recording(recording: dict[str, Any], settings: FrameSettings, videos: Path) -> RecordingFrames:
    """Decodes a recording twice as a stream, first to find the ultrasound area, then to write its frames.

    A label whose mask is broken or of another size is dropped and its frame kept. A file cut short keeps the
    frames that decode. A frozen frame is kept where it carries a label and the frame it repeats does not.

    Args:
        recording: One row of the recordings table.
        settings: How.
        videos: The `videos` folder of the store under construction.

    Returns:
        Manifest rows in frame order (none where the recording was rejected), rejections and a tally.

    Raises:
        OSError: The disk is full.
    """
    cv2.setNumThreads(1)
    result = RecordingFrames()
    try:
        _write(recording, settings, videos / recording["video"], result)
    except UnreadableMedia as error:
        logger.warning("recording %s rejected: %s", recording["video"], error)
        result.rows.clear()
        shutil.rmtree(videos / recording["video"], ignore_errors=True)
        reason = str(error).removeprefix(str(recording["path"])).removeprefix(": ")
        result.rejections.append(Rejection(recording["site"], STAGE, recording["video"], reason))
    return result


def _write(recording: dict[str, Any], settings: FrameSettings, folder: Path, result: RecordingFrames) -> None:
    path = Path(recording["path"])
    promised, statistics = _survey(path, settings)
    area = cropped_area(find_area(statistics, settings.area), settings.preprocessing)
    if min(area.height, area.width) < settings.smallest_side_px:
        raise UnreadableMedia(
            f"{path}: the ultrasound area is {area.width}x{area.height} px, "
            f"below the smallest side of {settings.smallest_side_px} px"
        )
    overlay = find_overlay(statistics, area) if settings.overlay != "off" else NO_OVERLAY
    reasons = _Reasons()
    masks, strangers = mask_files(recording["masks"])
    truths, _ = mask_files(recording["truths"])
    for name in strangers:
        # A name that nobody expected may be a patient's: it goes into the log of this machine only.
        logger.warning("recording %s: %s/%s is no <frame>.png", recording["video"], recording["masks"], name)
        reasons.add("file among the masks that is no <frame>.png", "see the log for its name")
    folder.mkdir(parents=True)
    frames = _FrameWriter(
        recording, settings, area, overlay, statistics.shape, masks, truths, reasons, result.rows
    )
    read = 0
    last = -1
    with (
        FrameArrayWriter(folder / "images.npy", settings.size) as images,
        FrameArrayWriter(folder / "masks.npy", settings.size) as labels,
    ):
        for index, frame in _guarded(path):
            read += 1
            last = index
            frames.take(index, frame, images, labels)
    for index in sorted(set(masks) - frames.seen):
        reasons.add(f"mask with no frame: the file has frames 0 to {last}", masks[index].name)
    # MPEG program streams only estimate their length, so a few frames less mean nothing; DICOM counts them.
    kind = media_kind(path)
    slack = 0.03 * (promised or 0) + 2 if kind == "video" else 0
    if promised is not None and last + 1 < promised - slack:
        reasons.add(f"file cut short: it promises {promised} frames, {last + 1} decode and are kept", kind)
    site, video = recording["site"], recording["video"]
    result.rejections.extend(Rejection(site, STAGE, video, line) for line in reasons.lines())
    result.tally.update(
        site=site, video=video, read=read, kept=len(result.rows), blank=reasons.count(BLANK),
        frozen=reasons.count(FROZEN), overlay_marks=overlay.marks, overlay_px=int(overlay.mask.sum()),
        crop_found=area.found, height=area.height, width=area.width,
    )  # fmt: skip
    if not result.rows:
        raise UnreadableMedia(f"{path}: no frame is left of {read} (blank, frozen or of changing size)")


def _survey(path: Path, settings: FrameSettings) -> tuple[int | None, FrameStatistics]:
    """Looks at evenly spread frames to learn the size and where the ultrasound area lies."""
    try:
        check_limits(path, settings.limits, undecided=True)
        promised = promised_frames(path)
    except OSError as error:
        raise UnreadableMedia(f"{path}: cannot be read ({error.strerror})") from error
    stride = max(1, (promised or 1) // settings.area.sampled_frames)
    statistics: FrameStatistics | None = None
    for _, frame in _guarded(path, stride):
        if statistics is None:
            statistics = FrameStatistics(frame.shape)
        if frame.shape == statistics.shape:
            statistics.update(frame)
    if statistics is None:
        raise UnreadableMedia(f"{path}: a file with no frame that can be decoded")
    return promised, statistics


def _guarded(path: Path, stride: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Reads frames; whatever a decoder throws becomes a reason, so that one broken file stops no run."""
    try:
        yield from read_frames(path, stride)
    except (OSError, cv2.error, MemoryError) as error:
        raise UnreadableMedia(f"{path}: cannot be read ({type(error).__name__})") from error


class _FrameWriter:
    """Decides about each frame of one recording and writes the kept ones."""

    def __init__(
        self,
        recording: dict[str, Any],
        settings: FrameSettings,
        area: Area,
        overlay: Overlay,
        shape: tuple[int, int],
        masks: dict[int, Path],
        truths: dict[int, Path],
        reasons: _Reasons,
        rows: list[dict[str, Any]],
    ):
        self.carried = {name: recording[name] for name in CARRIED}
        self.settings = settings
        self.area = area
        self.overlay = overlay
        self.shape = shape
        self.masks = masks
        self.truths = truths
        self.reasons = reasons
        self.rows = rows
        self.seen: set[int] = set()
        self._last: np.ndarray | None = None

    def take(self, index: int, frame: np.ndarray, images: FrameArrayWriter, labels: FrameArrayWriter) -> None:
        self.seen.add(index)
        if frame.shape != self.shape:
            self.reasons.add("frame of another size than the first", f"frame {index}")
            return
        cropped = np.ascontiguousarray(self._crop(frame))
        if self._blank(cropped):
            self.reasons.add(BLANK, f"frame {index}")
            return
        mask = self._mask(index)
        if self._frozen(cropped) and (mask is None or self.rows[-1]["labelled"]):
            self.reasons.add(FROZEN, f"frame {index}")
            return
        self._last = cropped
        if self.settings.overlay == "inpaint":
            cropped = fill_overlay(cropped, self.overlay)
        cropped = np.ascontiguousarray(preprocess(cropped, self.settings.preprocessing))
        images.append(square(cropped, self.settings.size))
        if mask is None:
            labels.append_zeros()
        else:
            labels.append(square_mask(mask, self.settings.size))
        self.rows.append(self._row(index, cropped, mask))

    def _crop(self, frame: np.ndarray) -> np.ndarray:
        top, left, height, width, _ = self.area
        return frame[top : top + height, left : left + width]

    def _blank(self, frame: np.ndarray) -> bool:
        bright = int(np.count_nonzero(frame >= self.settings.blank_level))
        return bright < 0.01 * frame.size or float(frame.std()) < self.settings.blank_deviation

    def _frozen(self, frame: np.ndarray) -> bool:
        if self._last is None:
            return False
        return float(cv2.absdiff(frame, self._last).mean()) <= self.settings.frozen_difference

    def _mask(self, index: int) -> np.ndarray | None:
        if index not in self.masks:
            return None
        try:
            mask = read_mask(self.masks[index], self.shape, self.settings.limits)
        except UnreadableMedia as error:
            reason = str(error).removeprefix(f"{self.masks[index]}: ")
            self.reasons.add(f"label dropped, frame kept: {reason}", f"frame {index}")
            return None
        cropped = np.ascontiguousarray(self._crop(mask))
        lost = int(mask.sum()) - int(cropped.sum())
        if lost:
            self.reasons.add(
                "mask reaches outside the ultrasound area and was cut", f"frame {index}, {lost} px"
            )
        return cropped

    def _row(self, index: int, frame: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
        content = hashlib.sha256(frame.tobytes()).hexdigest()[:16]
        if mask is not None:
            content += "-" + mask_hash(mask)
        truth = self.truths.get(index)
        return {
            **self.carried,
            "frame": index,
            "height": self.area.height,
            "width": self.area.width,
            "crop_top": self.area.top,
            "crop_left": self.area.left,
            "mask_path": str(self.masks[index]) if mask is not None else None,
            "truth_path": str(truth) if truth is not None else None,
            "labelled": mask is not None,
            "content": content,
        }
