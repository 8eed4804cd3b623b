from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import FrameSettings, build_frame_store
from crossprobe.data.leakage import LeakSettings, audit_sites, audit_split, frame_signature
from crossprobe.data.sources.busbra import BusBraSettings
from crossprobe.data.sources.busbra import read as read_busbra
from crossprobe.data.split import Split, SplitSettings, split_patients
from crossprobe.errors import LeakageFound

SETTINGS = LeakSettings()


def anatomy(count: int, seed: int) -> np.ndarray:
    """Slowly moving smooth tissue: what a sweep over one place looks like."""
    generator = np.random.default_rng(seed)
    still = cv2.GaussianBlur(generator.normal(size=(140, 160)).astype(np.float32), (0, 0), 3)
    frames = []
    for index in range(count):
        noise = cv2.GaussianBlur(generator.normal(size=(128, 160)).astype(np.float32), (0, 0), 2)
        frames.append(100 + 300 * still[index : 128 + index] + 80 * noise)
    return np.clip(frames, 15, 250).astype(np.uint8)


@pytest.fixture
def site(wrist, tmp_path, save_video):
    """Builds a store from clips by patient and splits it by hand: the last patient tests."""

    def build(clips: dict[str, list[np.ndarray]], size: int = 96) -> tuple[FrameStore, Split]:
        for patient, scans in clips.items():
            for index, frames in enumerate(scans):
                save_video(wrist.folder / "videos" / f"{patient}{index}.avi", frames)
                wrist.row(f"{patient}{index}.avi", patient)
        recordings, _ = wrist.read()
        path, _ = build_frame_store(
            recordings, FrameSettings(size=size, workers=1), tmp_path / "store", "source"
        )
        store = FrameStore.open(path, labels=False)
        order = [
            recordings[recordings["path"].str.contains(f"/{name}0")]["patient"].iloc[0] for name in clips
        ]
        parts = {"train": order[:-1], "test": order[-1:]}
        return store, Split(site="source", parts=parts, seed=0, manifest_hash="m")

    return build


def test_a_clean_split_passes_and_says_what_was_compared(site):
    store, split = site({"A": [anatomy(6, 1), anatomy(6, 2)], "B": [anatomy(6, 3)], "C": [anatomy(6, 4)]})
    audit = audit_split(store, split, SETTINGS)
    assert audit.patients == {"train": 2, "test": 1}
    assert audit.videos == {"train": 3, "test": 1}
    assert audit.compared_frames == 24
    assert audit.largest_correlation < 0.5


def test_likeness_within_a_patient_is_no_leak(site):
    same = anatomy(6, 1)
    store, split = site({"A": [same, same], "B": [anatomy(6, 2)]})
    assert audit_split(store, split, SETTINGS).largest_correlation < 0.5


def test_a_planted_copy_stops_the_run(site):
    copy = anatomy(6, 1)
    store, split = site({"A": [copy], "B": [anatomy(6, 2)], "C": [copy]})
    with pytest.raises(
        LeakageFound, match=r"parts \['test', 'train'\] share 6 identical frames \(p_.*one recording"
    ):
        audit_split(store, split, SETTINGS)


def test_coarse_frames_need_more_likeness(site):
    one, other = anatomy(2, 1), anatomy(2, 2)
    mixed = np.clip(0.55 * one + 0.45 * other, 0, 255).astype(np.uint8)
    store, split = site({"A": [one], "B": [mixed]}, size=32)
    assert 0.45 < audit_split(store, split, SETTINGS).largest_correlation < 0.8
    strict = LeakSettings(smallest_correlation=1)
    assert audit_split(store, split, strict).largest_correlation < 0.8


@pytest.mark.parametrize("how", ["brighter", "smaller", "noisy", "blurred"])
def test_a_planted_changed_copy_stops_the_run(site, how):
    original = anatomy(6, 1)
    generator = np.random.default_rng(5)
    changed = {
        "brighter": np.clip(original * 0.8 + 40, 0, 255),
        "smaller": np.stack(
            [cv2.resize(frame, (120, 96), interpolation=cv2.INTER_AREA) for frame in original]
        ),
        "noisy": np.clip(original + generator.normal(0, 8, original.shape), 0, 255),
        "blurred": np.stack([cv2.GaussianBlur(frame, (0, 0), 1) for frame in original]),
    }[how].astype(np.uint8)
    store, split = site({"A": [original], "B": [anatomy(6, 2)], "C": [changed]})
    with pytest.raises(
        LeakageFound, match=r"parts \['test', 'train'\] share \d+ pairs of near-identical frames \(p_"
    ):
        audit_split(store, split, SETTINGS)


def test_a_patient_without_a_part_stops_the_run(site):
    store, split = site({"A": [anatomy(3, 1)], "B": [anatomy(3, 2)]})
    less = Split(site="source", parts={"test": split.parts["test"]}, seed=0, manifest_hash="m")
    with pytest.raises(LeakageFound, match="1 patients of the frame store are in no part"):
        audit_split(store, less, SETTINGS)


def test_a_video_in_two_parts_stops_the_run(site):
    store, split = site({"A": [anatomy(3, 1)], "B": [anatomy(3, 2)]})
    store.manifest["video"] = store.manifest["video"].iloc[0]
    with pytest.raises(LeakageFound, match=r"share 1 videos \(v_"):
        audit_split(store, split, SETTINGS)


def test_dark_frames_are_like_nothing():
    dark = [np.random.default_rng(seed).integers(0, 6, (96, 96), dtype=np.uint8) for seed in range(2)]
    for frame in dark:
        frame[5:8, 20:60] = 200
    assert frame_signature(dark[0]) @ frame_signature(dark[1]) < 0.3
    assert not frame_signature(np.zeros((50, 60), np.uint8)).any()


def test_patients_of_two_sites_are_told_apart():
    audit_sites({"source": {"p_1", "p_2"}, "target": ["p_3"], "unseen": []})
    with pytest.raises(LeakageFound, match=r"sites 'source' and 'target' share 1 patients \(p_2\)"):
        audit_sites({"source": {"p_1", "p_2"}, "target": ["p_2", "p_3"]})


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("device", ["GE Logiq 5", "GE Logiq 7"])
def test_no_false_alarm_on_bus_bra(real_data, tmp_path, device):
    folder = real_data("bus_bra") / "BUSBRA"
    recordings, _ = read_busbra(BusBraSettings(folder=folder, device=device), "source", "a salt for tests")
    some = recordings[recordings["patient"].isin(sorted(set(recordings["patient"]))[:120])]
    path, _ = build_frame_store(some, FrameSettings(size=128, overlay="off"), tmp_path, "source", workers=1)
    store = FrameStore.open(path, labels=False)
    split = split_patients(store.manifest, SplitSettings(), "source")
    assert audit_split(store, split, SETTINGS).largest_correlation < 0.3


@pytest.mark.data
@pytest.mark.slow
def test_one_real_clip_published_under_two_patients_is_found(real_data, wrist, tmp_path):
    folder = real_data("pocus_videos") / "linear"
    clips = ["Pneu_prospective_file3.mp4", "Vir_prospective_file1.mp4"]
    clips.append("label_uncertain/Vir_or_Pneu_prospective_file4.mp4")
    for index, clip in enumerate(clips):
        shutil.copy(folder / clip, wrist.folder / "videos")
        wrist.row(clip.split("/")[-1], f"patient {index}")
    recordings, _ = wrist.read()
    path, _ = build_frame_store(recordings, FrameSettings(size=224, workers=1), tmp_path / "store", "source")
    store = FrameStore.open(path, labels=False)
    people = recordings.set_index(recordings["path"].str.split("/").str[-1])["patient"]
    first, second, third = (people[clip.split("/")[-1]] for clip in clips)
    together = Split(
        site="source", parts={"train": [second, third], "test": [first]}, seed=0, manifest_hash="m"
    )
    assert audit_split(store, together, SETTINGS).largest_correlation < 0.3
    apart = Split(site="source", parts={"train": [first, second], "test": [third]}, seed=0, manifest_hash="m")
    with pytest.raises(LeakageFound, match="pairs of near-identical frames"):
        audit_split(store, apart, SETTINGS)


def test_a_patient_who_waits_for_labels_outside_the_split_stops_nothing(site):
    store, split = site(
        {"A": [anatomy(3, 1)], "B": [anatomy(3, 2)], "C": [anatomy(3, 1)], "D": [anatomy(3, 4)]}
    )
    twin = split.parts["train"][2]
    plain = {"site": "source", "seed": 0, "manifest_hash": "m"}
    parts = {"train": split.parts["train"][1:2], "test": [split.parts["test"][0], twin]}
    apart = Split(**plain, parts=parts, outside=[split.parts["train"][0]])
    assert audit_split(store, apart, SETTINGS).patients == {"train": 1, "test": 2}
    with pytest.raises(LeakageFound, match="1 patients of the frame store are in no part"):
        audit_split(store, Split(**plain, parts=parts), SETTINGS)
