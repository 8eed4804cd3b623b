"""Masks for a stream of frames, in constant memory: what a video file or a scanner's output goes through."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.confidence import confidence_of
from crossprobe.fusion.ensemble import Ensemble
from crossprobe.prediction.read_ahead import read_ahead
from crossprobe.prediction.stream_settings import StreamSettings
from crossprobe.prediction.view import View, find_view

__all__ = ["FramePrediction", "StreamSettings", "predict_stream", "prepared_batches"]

logger = logging.getLogger(__name__)
Frame = np.ndarray | tuple[int, np.ndarray]
Rejected = Callable[[int, str], None]


class PreparedFrame(NamedTuple):
    """A frame on its way through a model.

    Attributes:
        number: In the clip, from 0.
        recorded: The frame itself, uint8 [H, W].
        image: What the model looks at, uint8 [S, S].
    """

    number: int
    recorded: np.ndarray
    image: np.ndarray


@dataclass(frozen=True)
class FramePrediction:
    """What an ensemble says of one frame.

    Attributes:
        frame: Number in the clip, from 0.
        recorded: uint8 [H, W], the frame itself as it came.
        mask: uint8 [H, W] of 0 and 1, in the size of the frame as recorded.
        probability: float32 [H, W] in [0, 1]; 0 outside the crop.
        confidence: float32 [H, W] in [0, 1], how far the probability is from undecided; 0 outside the crop.
        area_px: Foreground pixels of the mask.
        crop: Top, left, height and width of what the model looked at, px.
    """

    frame: int
    recorded: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    confidence: np.ndarray
    area_px: int
    crop: tuple[int, int, int, int]


def predict_stream(
    ensemble: Ensemble,
    answer: str,
    frames: Iterable[Frame],
    settings: StreamSettings,
    rejected: Rejected | None = None,
) -> Iterator[FramePrediction]:
    """Predicts the frames of one clip as they come, a few of them in memory at a time.

    The first frames decide where the ultrasound area lies; with as many as the clip has, that is the crop
    that the frames stage finds in a file. From then on frames go through the model in batches.

    Args:
        ensemble: Branches and their answers.
        answer: Which of its answers is wanted.
        frames: Grey uint8 [H, W] as decoded, numbered as they come; or pairs of number and frame, as
            `read_frames` gives them.
        settings: How frames are prepared and batched.
        rejected: Told the number and the reason of every frame that is left out, which is one of another
            size than the first; None writes them to the log.

    Yields:
        One prediction a frame, in order; none for an empty stream.

    Raises:
        CrossprobeError: The ensemble has no such answer, or a frame is no grey 8-bit image.
        UnreadableMedia: The ultrasound area is too small.
    """
    wanted = ensemble.only(answer)
    with contextlib.closing(prepared_batches(frames, ensemble.predictor.size, settings, rejected)) as batches:
        for view, batch in batches:
            yield from _predicted(wanted, answer, batch, view, settings)


def prepared_batches(
    frames: Iterable[Frame], size: int, settings: StreamSettings, rejected: Rejected | None
) -> Generator[tuple[View, list[PreparedFrame]]]:
    """Prepares the frames of one clip for a model, a batch at a time, ahead of it where settings say so.

    Args:
        frames: As for `predict_stream`.
        size: Side of the model's images, px.
        settings: How frames are prepared and batched.
        rejected: As for `predict_stream`.

    Returns:
        A generator, to be closed, of the view of the clip and its prepared frames.
    """
    batches = _batches(_numbered(frames), size, settings, rejected or _log)
    if settings.read_ahead_batches:
        batches = read_ahead(batches, settings.read_ahead_batches)
    return batches


def _batches(
    numbered: Iterator[tuple[int, np.ndarray]], size: int, settings: StreamSettings, rejected: Rejected
) -> Generator[tuple[View, list[PreparedFrame]]]:
    """The view of the clip with prepared frames, a batch at a time."""
    first = list(itertools.islice(numbered, settings.look_ahead_frames))
    if not first:
        return
    view = find_view([frame for _, frame in first], settings)
    usable = _usable(itertools.chain(_drained(first), numbered), view, rejected)
    while batch := [
        PreparedFrame(number, frame, view.square(frame, size))
        for number, frame in itertools.islice(usable, settings.batch_size)
    ]:
        yield view, batch


def _predicted(
    ensemble: Ensemble, answer: str, batch: list[PreparedFrame], view: View, settings: StreamSettings
) -> Iterator[FramePrediction]:
    fused = ensemble.predict(np.stack([one.image for one in batch]))[answer]
    with torch.inference_mode():
        confidence = confidence_of(fused.probability, ensemble.answers[answer].confidence)
        maps = torch.cat([fused.probability, confidence], dim=1).cpu().numpy()
    for one, (probability, sureness) in zip(batch, maps, strict=True):
        native = view.native(probability)
        mask = (native >= settings.threshold).astype(np.uint8)
        sure = view.native(sureness)
        yield FramePrediction(one.number, one.recorded, mask, native, sure, int(mask.sum()), view.crop)


def _numbered(frames: Iterable[Frame]) -> Iterator[tuple[int, np.ndarray]]:
    for count, item in enumerate(frames):
        number, frame = item if isinstance(item, tuple) else (count, item)
        if frame.ndim != 2 or frame.dtype != np.uint8:
            raise CrossprobeError(
                f"frame {number} must be grey, uint8 [H, W]; got {frame.dtype} {list(frame.shape)}"
            )
        yield number, frame


def _drained(items: list[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Hands items over one by one and lets go of them."""
    items.reverse()
    while items:
        yield items.pop()


def _usable(
    frames: Iterator[tuple[int, np.ndarray]], view: View, rejected: Rejected
) -> Iterator[tuple[int, np.ndarray]]:
    for number, frame in frames:
        if frame.shape == view.shape:
            yield number, frame
        else:
            height, width = view.shape
            found = f"{frame.shape[1]}x{frame.shape[0]}"
            rejected(number, f"frame of {found} px in a clip of {width}x{height} px")


def _log(number: int, reason: str) -> None:
    logger.warning("frame %d left out: %s", number, reason)
