from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import build_frame_store
from crossprobe.data.preprocessing import Chain, cropped_area, preprocess, stages
from crossprobe.data.ultrasound_area import Area

FILTERS = ("median", "bilateral", "non_local_means", "total_variation")
NAMES = ("percentile", "standardise", "clahe", *FILTERS)


def chain(*steps: dict) -> Chain:
    return TypeAdapter(Chain).validate_python(steps)


def noisy(seed: int = 0) -> np.ndarray:
    """Two halves, dark and bright, under speckle."""
    levels = np.where(np.arange(120) < 60, 70.0, 150.0) * np.ones((100, 1))
    noise = np.random.default_rng(seed).normal(0, 18, (100, 120))
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_gives_a_frame_of_the_same_kind(name):
    frame = noisy()
    before = frame.copy()
    result = preprocess(frame, chain({"step": name}))
    assert (result.shape, result.dtype) == (frame.shape, np.uint8)
    assert not np.array_equal(result, frame)
    assert np.array_equal(frame, before), "the caller's frame stays as it was"


@pytest.mark.parametrize("name", FILTERS)
def test_speckle_falls_and_the_edge_stays(name):
    frame = noisy()
    result = preprocess(frame, chain({"step": name}))
    left, right = (slice(10, 90), slice(10, 50)), (slice(10, 90), slice(70, 110))
    for half in (left, right):
        assert result[half].std() < 0.75 * frame[half].std()
    contrast = float(result[right].mean()) - float(result[left].mean())
    assert contrast == pytest.approx(float(frame[right].mean()) - float(frame[left].mean()), abs=6)


def test_percentiles_land_on_black_and_white():
    frame = np.linspace(50, 150, 101).astype(np.uint8).reshape(1, -1)
    step = {"step": "percentile", "low_percent": 0, "high_percent": 100}
    result = preprocess(frame, chain(step))
    assert result[0, [0, -1]].tolist() == [0, 255]
    assert np.abs(result[0] - (np.arange(50, 151) - 50) * 2.55).max() <= 0.5 + 1e-9


def test_all_frames_get_one_mean_and_deviation():
    results = [
        preprocess(np.clip(noisy(seed) * gain, 8, 255).astype(np.uint8), chain({"step": "standardise"}))
        for seed, gain in ((0, 0.5), (1, 1.0))
    ]
    assert [result.mean() for result in results] == pytest.approx([90, 90], abs=1)
    assert [result.std() for result in results] == pytest.approx([45, 45], abs=1)


def test_black_stays_black_when_levels_are_standardised():
    frame = noisy()
    frame[:, :20] = 0
    assert not preprocess(frame, chain({"step": "standardise"}))[:, :20].any()


@pytest.mark.parametrize("name", ["percentile", "standardise"])
@pytest.mark.parametrize("level", [0, 90])
def test_flat_frames_pass(name, level):
    frame = np.full((40, 50), level, np.uint8)
    assert np.array_equal(preprocess(frame, chain({"step": name})), frame)


def test_stages_show_every_step_and_end_where_the_chain_does():
    steps = chain({"step": "crop", "left": 0.1}, {"step": "median"}, {"step": "percentile"})
    shown = stages(noisy(), steps)
    assert [name for name, _ in shown] == ["median", "percentile"]
    assert np.array_equal(shown[-1][1], preprocess(noisy(), steps))


@settings(max_examples=30, deadline=None)
@given(st.tuples(*(st.floats(0, 0.45),) * 4), st.integers(1, 400), st.integers(1, 400))
def test_a_crop_stays_inside_and_never_empties(shares, height, width):
    left, top, right, bottom = shares
    step = {"step": "crop", "left": left, "top": top, "right": right, "bottom": bottom}
    area = cropped_area(Area(5, 7, height, width, True), chain(step))
    assert area.top >= 5
    assert area.left >= 7
    assert area.top + area.height <= 5 + height
    assert area.left + area.width <= 7 + width
    assert min(area.height, area.width) >= 1


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"step": "median"}, {"step": "crop"}], "crop must come before all other steps"),
        ([{"step": "medain"}], "median"),
        ([{"step": "median", "size_px": 4}], "size_px"),
        ([{"step": "non_local_means", "patch_px": 4}], "must be odd"),
        ([{"step": "clahe", "tile": 4}], "Extra inputs"),
    ],
)
def test_a_wrong_chain_is_refused(steps, words):
    with pytest.raises(ValidationError, match=words):
        FrameSettings(preprocessing=steps)


def test_an_empty_chain_is_not_part_of_the_settings_identity():
    assert "preprocessing" not in FrameSettings().model_dump()
    chosen = FrameSettings(preprocessing=[{"step": "median", "size_px": 5}])
    assert chosen.model_dump()["preprocessing"] == ({"step": "median", "size_px": 5},)
    assert FrameSettings.model_validate(chosen.model_dump()) == chosen
    assert FrameSettings.model_validate_json(chosen.model_dump_json()) == chosen


def test_the_frame_store_holds_what_the_chain_made(wrist, tmp_path):
    wrist.video("a.avi", "Anna", count=3, labelled=[0])
    recordings, _ = wrist.read()

    def build(**changed):
        settings = FrameSettings(size=64, workers=1, area={"crop": False}, **changed)
        path, _ = build_frame_store(recordings, settings, tmp_path / "store", "source")
        return FrameStore.open(path, labels=True)

    plain = build()
    smooth = build(preprocessing=[{"step": "median", "size_px": 5}])
    assert smooth.path != plain.path
    rows = np.arange(3)
    assert smooth.images(rows).std() < plain.images(rows).std()
    assert np.array_equal(smooth.masks(rows[:1]), plain.masks(rows[:1]))
    assert set(smooth.manifest["content"]).isdisjoint(plain.manifest["content"])
    cut = build(preprocessing=[{"step": "crop", "top": 0.25, "left": 0.25}])
    assert cut.manifest[["height", "width", "crop_top", "crop_left"]].iloc[0].tolist() == [48, 60, 16, 20]
    native = plain.native_mask(0)
    assert np.array_equal(cut.native_mask(0), native[16:, 20:])


def test_the_default_stores_the_bytes_it_always_did(wrist, tmp_path):
    """The pixels of the plain store are the recording's own, squared; no step has touched them."""
    from crossprobe.data.geometry import square
    from crossprobe.data.video import read_frames

    wrist.video("a.avi", "Anna", count=2)
    recordings, _ = wrist.read()
    settings = FrameSettings(size=64, workers=1, area={"crop": False})
    path, _ = build_frame_store(recordings, settings, tmp_path / "store", "source")
    store = FrameStore.open(path, labels=False)
    frames = [frame for _, frame in read_frames(recordings["path"].iloc[0])]
    expected = np.stack([square(frame, 64) for frame in frames])
    assert np.array_equal(store.images(np.arange(2)), expected)


def test_steps_are_those_of_the_libraries():
    frame = noisy()
    assert np.array_equal(
        preprocess(frame, chain({"step": "median", "size_px": 5})), cv2.medianBlur(frame, 5)
    )
