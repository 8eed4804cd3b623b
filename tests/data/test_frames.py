from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.data import array_file, frames, recording_frames
from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import FrameSettings, build_frame_store
from crossprobe.data.geometry import square_mask
from crossprobe.data.media_limits import MediaLimits
from crossprobe.data.ultrasound_area import AreaSettings
from crossprobe.errors import InvalidMetadata, StoreError

SMALL = FrameSettings(size=32, workers=1)


@pytest.fixture
def build(wrist, tmp_path):
    """Builds the store of the site a test filled and opens it."""

    def run(settings: FrameSettings = SMALL, workers: int | None = None) -> tuple[FrameStore, pd.DataFrame]:
        recordings, _ = wrist.read()
        path, rejections = build_frame_store(recordings, settings, tmp_path / "store", "source", workers)
        return FrameStore.open(path, labels=True), rejections

    return run


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_site_becomes_a_store(wrist, build):
    wrist.video("a.avi", "Anna", count=5, labelled=[0, 3])
    wrist.video("b.mp4", "Berta", count=4, seed=1)
    scans = wrist.video("c.dcm", "Berta", count=3, seed=2)
    store, rejections = build()
    assert rejections.empty
    assert len(store) == 12
    rows = np.flatnonzero(store.manifest["labelled"])
    assert store.manifest["frame"].iloc[rows].tolist() == [0, 3]
    for row in rows:
        assert np.array_equal(store.masks(np.array([row]))[0], square_mask(store.native_mask(row), 32))
        assert store.native_mask(row).sum() == 10 * (30 + store.manifest["frame"].iloc[row])
    keys = store.manifest[["video", "frame"]]
    assert keys.equals(keys.sort_values(["video", "frame"]).reset_index(drop=True))
    dicom_rows = store.manifest.index[store.manifest["path"].str.endswith(".dcm")]
    assert [store.images(np.array([row])).mean() for row in dicom_rows] == pytest.approx(
        [0.8 * scan.mean() for scan in scans], abs=2
    )


def test_no_name_passes(wrist, build):
    wrist.video("a.avi", "Anna Schmidt", labelled=[0])
    wrist.video("c.dcm", "Berta", count=3)
    store, _ = build()
    written = b"".join(files_of(store.path).values())
    for name in (b"Schmidt", b"Dr Operator", b"Berta", b"Doe^Jane", b"SECRET-4711", b"Hospital"):
        assert name not in written


def test_two_processes_write_what_one_writes(wrist, tmp_path):
    for index in range(4):
        wrist.video(f"{index}.avi", f"patient {index}", seed=index, labelled=[1])
    recordings, _ = wrist.read()
    one, _ = build_frame_store(recordings, SMALL, tmp_path / "one", "source", workers=1)
    two, _ = build_frame_store(recordings, SMALL, tmp_path / "two", "source", workers=2)
    assert one.name == two.name
    assert files_of(one) == files_of(two)


def test_unchanged_input_is_not_decoded_again(wrist, build, monkeypatch):
    wrist.video("a.avi", "Anna", labelled=[0])
    (wrist.folder / "videos" / "broken.mp4").touch()
    wrist.row("broken.mp4", "Berta")
    store, rejections = build()
    monkeypatch.setattr(frames, "decode_part", None)
    again, same = build()
    assert again.path == store.path
    assert same.equals(rejections)
    assert len(same) == 2


@pytest.mark.parametrize("change", ["video", "mask", "spacing", "setting", "code"])
def test_any_change_makes_a_new_store(wrist, build, change, make_speckle, save_video, monkeypatch):
    wrist.video("a.avi", "Anna", labelled=[0])
    before = build()[0].path
    settings = SMALL
    if change == "video":
        save_video(wrist.folder / "videos" / "a.avi", make_speckle(6, 64, 80, seed=9))
    elif change == "mask":
        wrist.mask("a", 0, np.full((64, 80), 255, np.uint8))
    elif change == "spacing":
        wrist.rows[0]["spacing_mm"] = 0.2
    elif change == "setting":
        settings = SMALL.model_copy(update={"blank_level": 13})
    else:
        monkeypatch.setattr(frames, "code_hash", lambda *modules: "other code")
    assert build(settings)[0].path != before


def test_workers_and_row_order_make_no_difference(wrist, tmp_path):
    for index in range(3):
        wrist.video(f"{index}.avi", f"patient {index}", seed=index, count=2)
    recordings, _ = wrist.read()
    first, _ = build_frame_store(recordings, SMALL, tmp_path, "source")
    other = FrameSettings(size=32, workers=3)
    second, _ = build_frame_store(recordings.iloc[::-1], other, tmp_path, "source")
    assert first == second


def test_blank_and_frozen_frames_are_dropped_and_counted(wrist, build, make_speckle, save_video):
    moving = make_speckle(4, 64, 80)
    dark = np.zeros((64, 80), np.uint8)
    clip = np.stack([dark, moving[0], moving[0], moving[0], moving[1], dark, moving[2], moving[3]])
    save_video(wrist.folder / "videos" / "a.avi", clip)
    wrist.row("a.avi", "Anna")
    store, rejections = build()
    assert store.manifest["frame"].tolist() == [1, 4, 6, 7]
    [tally] = store.recordings().to_dict("records")
    assert (tally["read"], tally["kept"], tally["blank"], tally["frozen"]) == (8, 4, 2, 2)
    assert rejections["reason"].tolist() == [
        "2 x blank frame (first: frame 0)",
        "2 x frozen frame, the same as the one before (first: frame 2)",
    ]


def test_a_label_on_a_frozen_frame_is_not_lost(wrist, build, make_speckle, save_video):
    moving = make_speckle(2, 64, 80)
    save_video(wrist.folder / "videos" / "a.avi", np.stack([moving[0], moving[0], moving[0], moving[1]]))
    for index in (1, 2):
        wrist.mask("a", index, np.full((64, 80), 255, np.uint8))
    wrist.row("a.avi", "Anna")
    store, _ = build()
    assert store.manifest["frame"].tolist() == [0, 1, 3]
    assert store.manifest["labelled"].tolist() == [False, True, False]


def test_a_mask_of_another_size_costs_the_label_only(wrist, build):
    wrist.video("a.avi", "Anna", labelled=[0, 1])
    wrist.mask("a", 1, np.full((10, 20), 255, np.uint8))
    store, rejections = build()
    assert len(store) == 6
    assert store.manifest["labelled"].tolist() == [True] + [False] * 5
    assert rejections["reason"].tolist() == [
        "1 x label dropped, frame kept: mask is 20x10 px, its frame 80x64 px; "
        "export masks at the clip's own size (first: frame 1)"
    ]


def test_a_mask_with_no_frame_is_counted(wrist, build, caplog):
    wrist.video("a.avi", "Anna", labelled=[0, 6, 7])
    (wrist.folder / "masks" / "a" / "Mueller.txt").write_text("x")
    _, rejections = build()
    assert "masks/a/Mueller.txt is no <frame>.png" in caplog.text
    assert rejections["reason"].tolist() == [
        "1 x file among the masks that is no <frame>.png (first: see the log for its name)",
        "2 x mask with no frame: the file has frames 0 to 5 (first: 000006.png)",
    ]


def test_a_mask_edited_after_the_build_is_noticed(wrist, build):
    wrist.video("a.avi", "Anna", labelled=[0, 1])
    store, _ = build()
    before = store.native_mask(0)
    wrist.mask("a", 0, before * 255)
    assert np.array_equal(store.native_mask(0), before)
    wrist.mask("a", 0, np.roll(before, 1, axis=0) * 255)
    with pytest.raises(StoreError, match=r"000000\.png: changed since the frames stage.*run it again"):
        store.native_mask(0)
    assert store.native_mask(1).any()
    (wrist.folder / "truths" / "a").mkdir(parents=True)
    store.manifest["truth_path"] = store.manifest["mask_path"]
    assert store.native_truth(0).any()


def test_a_broken_mask_costs_the_label_only(wrist, build):
    wrist.video("a.avi", "Anna", labelled=[0, 1])
    (wrist.folder / "masks" / "a" / "000001.png").write_bytes(b"no picture")
    store, rejections = build()
    assert store.manifest["labelled"].sum() == 1
    assert "label dropped, frame kept: not an image that can be decoded" in rejections["reason"][0]


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_what_promises_gigapixels_is_rejected_and_the_rest_goes_on(wrist, build, hollow_png, side):
    wrist.video("a.avi", "Anna", labelled=[0, 1])
    hollow_png(wrist.folder / "masks/a/000001.png", side)
    hollow_png(wrist.folder / "videos/b.png", side)
    wrist.row("b.png", "Berta")
    store, rejections = build()
    assert store.manifest["labelled"].sum() == 1
    reasons = rejections["reason"].tolist()
    assert sum("promises" in reason for reason in reasons) == 2
    assert sum("label dropped, frame kept" in reason for reason in reasons) == 1


def test_a_recording_with_too_many_frames_is_rejected(wrist, build):
    wrist.video("a.avi", "Anna")
    wrist.video("b.avi", "Berta", count=9)
    store, rejections = build(SMALL.model_copy(update={"limits": MediaLimits(frames=6)}))
    assert len(store) == 6
    assert any("promises 9 frames, more than the 6 that are" in reason for reason in rejections["reason"])


def test_bad_recordings_are_rejected_and_the_rest_goes_on(wrist, build, make_speckle, save_video, save_dicom):
    videos = wrist.folder / "videos"
    wrist.video("good.avi", "Anna")
    (videos / "empty.mp4").touch()
    cv2.imwrite(str(videos / "still.png"), make_speckle(1, 64, 80)[0])
    (videos / "still.png").rename(videos / "still.mp4")
    save_video(videos / "tiny.avi", make_speckle(4, 24, 64))
    save_dicom(videos / "report.dcm", make_speckle(2, 40, 50), PixelData=None)
    save_video(videos / "black.avi", np.zeros((4, 64, 80), np.uint8))
    for name in ("empty.mp4", "still.mp4", "tiny.avi", "report.dcm", "black.avi"):
        wrist.row(name, f"patient of {name}")
    store, rejections = build()
    assert len(store) == 6
    recordings, _ = wrist.read()
    names = {row["video"]: Path(row["path"]).name for row in recordings.to_dict("records")}
    reasons = {
        names[item]: reason
        for item, reason in zip(rejections["item"], rejections["reason"], strict=True)
        if item in names
    }
    assert reasons["empty.mp4"].startswith("the file has zero bytes")
    assert reasons["still.mp4"].startswith("a PNG image in a video's place")
    assert reasons["tiny.avi"] == "the ultrasound area is 64x24 px, below the smallest side of 32 px"
    assert reasons["report.dcm"].startswith("a DICOM file without pixels")
    assert reasons["black.avi"].startswith("no frame is left of 4")
    lost = rejections[rejections["reason"] == "patient lost: every recording was rejected"]
    assert len(lost) == 5
    assert lost["item"].str.startswith("p_").all()
    assert {folder.name for folder in (store.path / "videos").iterdir()} == set(store.manifest["video"])


def test_a_clip_cut_short_keeps_what_decodes(wrist, build):
    wrist.video("cut.avi", "Anna", count=30)
    path = wrist.folder / "videos" / "cut.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store, rejections = build()
    assert 5 < len(store) < 25
    assert (
        f"file cut short: it promises 30 frames, {len(store)} decode and are kept" in rejections["reason"][0]
    )


def test_every_frame_that_a_dicom_clip_lacks_is_told(wrist, build, make_speckle, save_dicom):
    path = save_dicom(wrist.folder / "videos" / "scan.Mueller", make_speckle(6, 64, 80))
    path.write_bytes(path.read_bytes()[:-100])
    wrist.row("scan.Mueller", "Anna")
    store, rejections = build()
    assert store.manifest["frame"].tolist() == [0, 1, 2, 3, 4]
    assert rejections["reason"].tolist() == [
        "1 x file cut short: it promises 6 frames, 5 decode and are kept (first: dicom)"
    ]


def test_deep_and_coloured_images_are_read(wrist, build, make_speckle):
    scan = make_speckle(1, 64, 80)[0]
    cv2.imwrite(str(wrist.folder / "videos" / "deep.png"), scan.astype(np.uint16) * 257)
    cv2.imwrite(str(wrist.folder / "videos" / "colour.png"), np.stack([scan] * 3, axis=2))
    wrist.row("deep.png", "Anna")
    wrist.row("colour.png", "Anna")
    store, rejections = build()
    assert rejections.empty
    first, second = store.images(np.arange(2))
    assert np.array_equal(first, second)


def test_burnt_in_marks_are_counted_or_filled(wrist, build, make_speckle):
    scan = cv2.GaussianBlur(make_speckle(1, 128, 160)[0], (0, 0), 3)
    marked = scan.copy()
    cv2.putText(marked, "LEFT", (40, 100), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    cv2.imwrite(str(wrist.folder / "videos" / "a.png"), marked)
    wrist.row("a.png", "Anna")
    bare = {"size": 160, "workers": 1, "area": AreaSettings(crop=False)}
    images = {}
    for mode in ("off", "detect", "inpaint"):
        store, _ = build(FrameSettings(overlay=mode, **bare))
        images[mode] = store.images(np.array([0]))[0][:128]
        marks = store.recordings()["overlay_marks"][0]
        assert (marks > 0) == (mode != "off")
    assert np.array_equal(images["off"], marked)
    assert np.array_equal(images["detect"], marked)
    difference = np.abs(images["inpaint"].astype(int) - scan)
    assert difference.mean() < 0.3 * np.abs(marked.astype(int) - scan).mean()


def test_an_empty_site_is_named(tmp_path, wrist):
    wrist.video("a.avi", "Anna")
    recordings, _ = wrist.read()
    with pytest.raises(InvalidMetadata, match="site 'source' has no recordings"):
        build_frame_store(recordings.iloc[:0], SMALL, tmp_path, "source")


def test_a_site_with_no_frame_left_is_named(wrist, build, tmp_path):
    (wrist.folder / "videos" / "a.mp4").touch()
    wrist.row("a.mp4", "Anna")
    with pytest.raises(StoreError, match=r"site 'source': no frame is left of 1 recordings \(.*zero bytes"):
        build()
    assert [left.name for left in (tmp_path / "store").iterdir()] == [".parts"]


def test_recordings_of_another_site_are_refused(wrist, tmp_path):
    wrist.video("a.avi", "Anna")
    recordings, _ = wrist.read("target")
    with pytest.raises(InvalidMetadata, match=r"recordings of site \['target'\] were given .* site 'source'"):
        build_frame_store(recordings, SMALL, tmp_path, "source")


def test_a_changing_frame_size_costs_only_those_frames(wrist, build, make_speckle, monkeypatch):
    wrist.video("a.avi", "Anna")
    scans = make_speckle(4, 64, 80)
    sequence = [(0, scans[0]), (1, scans[1]), (2, scans[2][:40]), (3, scans[3])]
    monkeypatch.setattr(recording_frames, "read_frames", lambda path, stride=1: iter(sequence))
    store, rejections = build()
    assert store.manifest["frame"].tolist() == [0, 1, 3]
    assert "1 x frame of another size than the first (first: frame 2)" in rejections["reason"].tolist()


@pytest.mark.parametrize("failing", ["append", "close"])
def test_a_full_disk_leaves_nothing(wrist, build, tmp_path, monkeypatch, failing):
    wrist.video("a.avi", "Anna")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(array_file.FrameArrayWriter, failing, full)
    with pytest.raises(StoreError, match=r"store: the disk is full; free some space"):
        build()
    assert list((tmp_path / "store").iterdir()) == []
    monkeypatch.undo()
    assert len(build()[0]) == 6


def test_a_full_disk_while_writing_tables_leaves_nothing(wrist, build, tmp_path, monkeypatch):
    wrist.video("a.avi", "Anna")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(StoreError, match="the disk is full"):
        build()
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a tiny disk needs root"
)
def test_a_really_full_disk_leaves_nothing(wrist, tmp_path):
    for index in range(3):
        wrist.video(f"{index}.avi", f"patient {index}", seed=index, count=20)
    recordings, _ = wrist.read()
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine does not let tests mount a disk")
    try:
        with pytest.raises(StoreError, match="the disk is full"):
            build_frame_store(recordings, FrameSettings(size=96), disk / "store", "source", workers=2)
        assert list((disk / "store").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_place_that_cannot_be_written_is_named(wrist, tmp_path):
    wrist.video("a.avi", "Anna")
    recordings, _ = wrist.read()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/store: cannot write"):
        build_frame_store(recordings, SMALL, tmp_path / "file" / "store", "source")


BUILD = """
import sys, time
import pandas as pd
from pathlib import Path
from crossprobe.data import recording_parts
from crossprobe.data.frames import FrameSettings, build_frame_store

real = recording_parts.write_recording
def slow(*arguments):
    result = real(*arguments)
    print("one written", flush=True)
    time.sleep(60)
    return result

recording_parts.write_recording = slow
recordings = pd.read_parquet(sys.argv[1])
build_frame_store(recordings, FrameSettings(size=32), Path(sys.argv[2]), "source", workers=1)
"""


def test_a_killed_build_is_never_read_and_is_cleared_away(wrist, tmp_path):
    wrist.video("a.avi", "Anna")
    wrist.video("b.avi", "Berta", seed=1)
    recordings, _ = wrist.read()
    recordings.to_parquet(tmp_path / "recordings.parquet")
    root = tmp_path / "store"
    arguments = [sys.executable, "-c", BUILD, str(tmp_path / "recordings.parquet"), str(root)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one written\n"
        process.send_signal(signal.SIGKILL)
    [left] = list(root.glob(".building-*"))
    [part] = list((root / ".parts").iterdir())
    assert part.name.startswith(".building-")
    assert list(part.glob("*/images.npy"))
    with pytest.raises(StoreError, match=r"no store\.json"):
        FrameStore.open(left, labels=True)
    path, _ = build_frame_store(recordings, SMALL, root, "source")
    assert sorted(root.iterdir()) == [root / ".parts", path]
    assert len(list((root / ".parts").iterdir())) == 2
    assert len(FrameStore.open(path, labels=True)) == 12


def test_a_folder_without_its_last_file_is_built_again(wrist, build):
    wrist.video("a.avi", "Anna")
    store, _ = build()
    (store.path / "store.json").unlink()
    with pytest.raises(StoreError, match=r"no store\.json"):
        FrameStore.open(store.path, labels=True)
    again, _ = build()
    assert again.path == store.path
    assert len(again) == 6


def test_another_live_builds_folder_is_left_alone(wrist, build, tmp_path):
    wrist.video("a.avi", "Anna")
    other = tmp_path / "store" / f".building-0123456789abcdef-{os.getppid()}"
    other.mkdir(parents=True)
    build()
    assert other.is_dir()


def test_a_dying_worker_is_said(wrist, tmp_path, monkeypatch):
    for index in range(2):
        wrist.video(f"{index}.avi", f"patient {index}", seed=index)
    recordings, _ = wrist.read()
    monkeypatch.setattr(frames, "SMALLEST_POOL", 2)

    class Pool(frames.ProcessPoolExecutor):
        def submit(self, call, *arguments):
            return super().submit(os._exit, 3)

    monkeypatch.setattr(frames, "ProcessPoolExecutor", Pool)
    with pytest.raises(StoreError, match="a process that decodes frames died"):
        build_frame_store(recordings, SMALL, tmp_path / "store", "source", workers=2)
    assert list((tmp_path / "store").iterdir()) == []


def test_memory_does_not_grow_with_the_length_of_a_clip(wrist, build, make_speckle, save_video):
    import tracemalloc

    peaks = []
    for count in (20, 100):
        save_video(wrist.folder / "videos" / "a.avi", make_speckle(count, 240, 320))
        wrist.rows.clear()
        wrist.row("a.avi", "Anna")
        tracemalloc.start()
        build()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 80 * 240 * 320 / 8
