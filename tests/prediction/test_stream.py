"""A stream gets the crop, the masks and the order that whole files get, whatever the batch size."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.geometry import square, unsquare
from crossprobe.data.recording_frames import write_recording
from crossprobe.data.ultrasound_area import AreaSettings
from crossprobe.data.video import read_frames
from crossprobe.errors import CrossprobeError, UnreadableMedia
from crossprobe.fusion.confidence import entropy_confidence
from crossprobe.fusion.ensemble import Ensemble, FusedAnswer
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.prediction.stream import StreamSettings, predict_stream
from crossprobe.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
BOX = (20, 30, 150, 200)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    branches = []
    for _ in range(2):
        module = TransUNet(TransUNetConfig.mini(image_size=32)).eval()
        with torch.no_grad():
            module.head.weight.mul_(20)
            # Else an untrained branch calls every pixel foreground, or none.
            module.head.bias.sub_(module(torch.full((1, 1, 32, 32), 0.2)).median())
        branches.append(Branch(module, InputScaling(mean=0.3, std=0.2)))
    answers = {"fused": FusedAnswer(confidence="entropy"), "average": FusedAnswer()}
    return Ensemble(Predictor(branches, CPU), [1.0, 1.0], answers)


def scan(count: int, seed: int = 0) -> np.ndarray:
    """A screen with speckle that moves inside a box and nothing elsewhere: uint8 [count, 200, 280]."""
    generator = np.random.default_rng(seed)
    top, left, height, width = BOX
    frames = np.zeros((count, 200, 280), np.uint8)
    for frame in frames:
        noise = cv2.GaussianBlur(generator.random((height, width), dtype=np.float32), (0, 0), 1.5)
        frame[top : top + height, left : left + width] = np.clip(90 + 700 * (noise - 0.5), 20, 235)
    return frames


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_masks_are_those_of_the_ensemble_in_native_pixels(ensemble, batch_size):
    frames = scan(10)
    settings = StreamSettings(batch_size=batch_size, look_ahead_frames=10)
    found = list(predict_stream(ensemble, "fused", frames, settings))
    assert [one.frame for one in found] == list(range(10))
    top, left, height, width = found[0].crop
    assert np.abs(np.subtract(found[0].crop, BOX)).max() <= 8, "a margin is left around the scan"
    for frame, one in zip(frames, found, strict=True):
        inside = (slice(top, top + height), slice(left, left + width))
        image = square(np.ascontiguousarray(frame[inside]), 32)
        fused = ensemble.predict(image[None])["fused"].probability[0, 0]
        expected = np.zeros(frame.shape, np.float32)
        expected[inside] = unsquare(fused.numpy(), height, width)
        np.testing.assert_allclose(one.probability, expected, atol=2e-4)
        assert one.mask.dtype == np.uint8
        assert np.array_equal(one.mask, one.probability >= 0.5)
        assert one.area_px == one.mask.sum()
        expected[inside] = unsquare(entropy_confidence(fused).numpy(), height, width)
        np.testing.assert_allclose(one.confidence, expected, atol=1e-3)
    assert len({one.area_px for one in found}) > 1, "frames differ, or the test proves nothing"


CHAIN = [
    {"step": "crop", "top": 0.1, "left": 0.2},
    {"step": "percentile", "low_percent": 20, "high_percent": 80},
    {"step": "median", "size_px": 5},
]


@pytest.mark.parametrize("chain", [[], CHAIN], ids=["no chain", "chain"])
def test_the_crop_and_pixels_are_those_of_the_frames_stage(chain, ensemble, tmp_path):
    frames = scan(12)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (280, 200))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    area = AreaSettings(sampled_frames=6)
    chosen = FrameSettings(size=32, area=area, overlay="inpaint", preprocessing=chain)
    row = dict.fromkeys(("site", "device", "operator", "patient", "view", "class"), "x")
    row |= {
        "video": "v",
        "path": str(tmp_path / "clip.avi"),
        "spacing_mm": None,
        "masks": None,
        "truths": None,
    }
    (tmp_path / "videos").mkdir()
    stored = write_recording(row, chosen, tmp_path / "videos")
    images = np.load(tmp_path / "videos" / "v" / "images.npy")
    settings = StreamSettings.like(chosen, look_ahead_frames=12)
    found = list(predict_stream(ensemble, "fused", read_frames(tmp_path / "clip.avi"), settings))
    kept = [entry["frame"] for entry in stored.rows]
    expected = ensemble.predict(images)["fused"].probability[:, 0].numpy()
    for index, probability in zip(kept, expected, strict=True):
        one, entry = found[index], stored.rows[kept.index(index)]
        assert one.crop == tuple(entry[name] for name in ("crop_top", "crop_left", "height", "width"))
        top, left, height, width = one.crop
        inside = one.probability[top : top + height, left : left + width]
        native = unsquare(probability, height, width)
        np.testing.assert_allclose(inside, native, atol=2e-4)
        sure = np.abs(native - 0.5) > 1e-3
        mask = one.mask[top : top + height, left : left + width]
        assert np.array_equal(mask[sure], native[sure] >= 0.5)


@pytest.mark.parametrize("ahead", [0, 2])
def test_no_more_frames_are_held_than_the_look_ahead_and_a_few_batches(ensemble, ahead):
    taken = itertools.count()
    frames = scan(4)

    def endless():
        while True:
            yield frames[next(taken) % 4]

    settings = StreamSettings(batch_size=3, look_ahead_frames=7, read_ahead_batches=ahead)
    stream = predict_stream(ensemble, "average", endless(), settings)
    for given in range(1, 40):
        next(stream)
        # One batch is being given, one prepared; every look at the counter counts one more.
        assert next(taken) <= max(7, given + (2 + ahead) * 3) + given
    stream.close()


def test_a_frame_of_another_size_is_left_out_and_named(ensemble):
    frames = [*scan(5), np.zeros((10, 10), np.uint8), *scan(2)]
    lost: list[tuple[int, str]] = []
    found = list(predict_stream(ensemble, "fused", frames, StreamSettings(), lambda *why: lost.append(why)))
    assert [one.frame for one in found] == [0, 1, 2, 3, 4, 6, 7]
    assert lost == [(5, "frame of 10x10 px in a clip of 280x200 px")]


def test_numbers_that_come_with_the_frames_are_kept(ensemble):
    pairs = [(10, scan(2)[0]), (14, scan(2)[1])]
    assert [one.frame for one in predict_stream(ensemble, "fused", pairs, StreamSettings())] == [10, 14]


def test_bad_input_is_refused(ensemble):
    settings = StreamSettings()
    assert list(predict_stream(ensemble, "fused", [], settings)) == []
    with pytest.raises(CrossprobeError, match="no answer 'best': this ensemble has fused, average"):
        next(predict_stream(ensemble, "best", scan(1), settings))
    with pytest.raises(CrossprobeError, match=r"frame 0 must be grey, uint8 \[H, W\]; got uint8 \[8, 8, 3\]"):
        next(predict_stream(ensemble, "fused", [np.zeros((8, 8, 3), np.uint8)], settings))
    with pytest.raises(UnreadableMedia, match="is 20x20 px"):
        next(predict_stream(ensemble, "fused", [np.zeros((20, 20), np.uint8)], settings))
