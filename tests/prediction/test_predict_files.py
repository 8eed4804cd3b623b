"""From files to masks: native size, right areas, nothing half-written, nobody's name, bad files told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from crossprobe.data.media_limits import MediaLimits
from crossprobe.data.video import read_frames
from crossprobe.errors import CrossprobeError
from crossprobe.prediction import predict_files as module
from crossprobe.prediction.predict_files import predict_files
from crossprobe.prediction.settings import OutputSettings, PredictionSettings
from small_model import fan, write_clip

SALT = "a salt for tests"
TAGS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "MRN-4711-0815",
    "PatientBirthDate": "19640812",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Doctor^Who",
}


def predicted(reader, paths, folder, **changes) -> pd.DataFrame:
    table = predict_files(reader, [Path(path) for path in paths], folder, PredictionSettings(**changes), SALT)
    return table.set_index("file")


def dicom_clip(path: Path, frames: int = 3, **tags: str) -> Path:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.826.0.1.47110815"
    for name, value in tags.items():
        setattr(dataset, name, value)
    pixels = np.stack([fan(number) for number in range(frames)])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelSpacing = [0.25, 0.25]
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    dataset.save_as(path, enforce_file_format=True)
    return path


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_clip_becomes_masks_of_its_own_size(reader, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", frames=6)
    table = predicted(reader, [clip], tmp_path / "out", spacing_mm=0.5)
    row = table.loc["clip.avi"]
    assert (row["status"], row["kind"], row["frames"]) == ("predicted", "video", 6)
    folder = tmp_path / "out" / row["output"]
    names = {f"{kind}/{number:06d}.png" for kind in ("masks", "confidence") for number in range(6)}
    assert files_below(folder) == names | {"overlay.mp4", "frames.csv"}
    frames = pd.read_csv(tmp_path / "out/frames.csv")
    expected = list(reader.read(read_frames(clip), batch_size=2))
    for number, judged in enumerate(expected):
        mask = cv2.imread(str(folder / f"masks/{number:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (120, 160)
        assert np.array_equal(mask, judged.prediction.mask * 255)
        assert frames["area_mm2"][number] == pytest.approx(mask.astype(bool).sum() * 0.25, abs=0.01)
    assert 0 < frames["area_px"].mean() < 120 * 160
    assert len(list(read_frames(folder / "overlay.mp4"))) == 6


def test_tables_say_what_was_asked(reader, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", frames=3)
    cv2.imwrite(str(tmp_path / "still.png"), fan())
    wanted = OutputSettings(masks=False, confidence=False, overlay=False, table="parquet")
    predicted(reader, [clip, tmp_path / "still.png"], tmp_path / "out", outputs=wanted)
    frames = pd.read_parquet(tmp_path / "out/frames.parquet")
    assert list(frames["file"]) == ["clip.avi"] * 3 + ["still.png"]
    assert frames["area_mm2"].isna().all()
    assert frames["area_px"].dtype == np.int64
    assert len(pd.read_parquet(tmp_path / "out/files.parquet")) == 2


def test_volumes_hold_the_same_masks(reader, tmp_path):
    nibabel, highdicom = pytest.importorskip("nibabel"), pytest.importorskip("highdicom")
    clip = dicom_clip(tmp_path / "clip.dcm", frames=11, **TAGS)
    wanted = OutputSettings(confidence=False, overlay=False, nifti=True, dicom_seg=True)
    row = predicted(reader, [clip], tmp_path / "out", outputs=wanted).loc["clip.dcm"]
    folder = tmp_path / "out" / row["output"]
    masks = np.stack([cv2.imread(str(path), 0) // 255 for path in sorted((folder / "masks").iterdir())])
    assert 0 < masks.mean() < 1
    image = nibabel.load(folder / "masks.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), masks)
    assert image.header.get_zooms()[:2] == (0.25, 0.25)
    segmentation = highdicom.seg.segread(folder / "masks.dcm")
    assert np.array_equal(segmentation.pixel_array, masks)
    numbers = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for group in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == list(range(1, 12))
    assert "masks.raw" not in "".join(files_below(folder))


def test_nobodys_name_is_in_any_output(reader, tmp_path, caplog):
    caplog.set_level(0)
    clip = dicom_clip(tmp_path / "IM0001.dcm", **TAGS)
    broken = tmp_path / "IM0002.dcm"
    broken.write_bytes(clip.read_bytes()[:700])
    wanted = OutputSettings(nifti=True, dicom_seg=True)
    table = predicted(reader, [clip, broken], tmp_path / "out", outputs=wanted)
    assert table.loc["IM0001.dcm", "spacing_mm"] == 0.25
    assert list(table["status"]) == ["predicted", "rejected"]
    secrets = [part.encode() for value in TAGS.values() for part in value.split("^") if len(part) > 2]
    secrets += [b"1.2.826.0.1.47110815", str(tmp_path).encode()]
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        found = [secret for secret in secrets if secret in content or secret in path.name.encode()]
        assert not found, path
    assert not [secret for secret in secrets[:-1] if secret.decode() in caplog.text]


def test_bad_files_are_told_and_the_rest_goes_on(reader, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    good = write_clip(folder / "good.avi")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.avi").write_bytes(good.read_bytes()[:300])
    (folder / "noise.png").write_bytes(os.urandom(500))
    cv2.imwrite(str(folder / "tiny.png"), fan()[:20, :20])
    cv2.imwrite(str(folder / "large.png"), np.zeros((300, 300), np.uint8))
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "photo.mp4").write_bytes((folder / "tiny.png").read_bytes())
    table = predicted(reader, [folder], tmp_path / "out", limits=MediaLimits(frame_pixels=50_000))
    assert table.loc["clips/good.avi", "status"] == "predicted"
    bad = table.drop("clips/good.avi")
    assert set(bad["status"]) == {"rejected"}
    assert (bad["output"] == "").all()
    for name, words in {
        "empty.mp4": "zero bytes", "cut.avi": "", "noise.png": "not an image", "tiny.png": "smallest side",
        "large.png": "300x300", "loop.png": "cannot be opened", "photo.mp4": "PNG image in a video's place",
    }.items():  # fmt: skip
        reason = bad.loc[f"clips/{name}", "reason"]
        assert reason
        assert words in reason
        assert str(tmp_path) not in reason
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert [path.name for path in folders] == [table.loc["clips/good.avi", "output"]]
    assert set(pd.read_csv(tmp_path / "out/frames.csv")["file"]) == {"clips/good.avi"}


def test_a_clip_that_goes_on_beyond_its_header_is_stopped(reader, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi", frames=6)
    monkeypatch.setattr(module, "check_limits", lambda path, limits: "video")
    table = predicted(reader, [clip], tmp_path / "out", limits=MediaLimits(frames=4))
    assert "more than the 4 frames" in table.loc["clip.avi", "reason"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"files.csv", "frames.csv"}


def test_frames_travel_with_their_predictions(reader, tmp_path, monkeypatch):
    """Frames that cannot be used are let go of at once, and none is drawn under another's mask."""
    alive: weakref.WeakSet[np.ndarray] = weakref.WeakSet()
    most = 0

    class Frame(np.ndarray):
        """Can be kept in a weak set: it is hashed by what it is, not by what it holds."""

        __hash__ = object.__hash__
        __eq__ = object.__eq__

    def recorded(path):
        nonlocal most
        for number in range(460):
            usable = number < 60
            frame = (fan(number) if usable else np.zeros((40, 50), np.uint8)).view(Frame)
            alive.add(frame)
            most = max(most, len(alive))
            yield number, frame

    drawn = {}

    def keep(sink, judged):
        drawn[judged.prediction.frame] = hashlib.sha256(judged.prediction.recorded.tobytes()).digest()

    monkeypatch.setattr(module, "check_limits", lambda path, limits: "image")
    monkeypatch.setattr(module, "read_frames", recorded)
    monkeypatch.setattr(module.OverlaySink, "add", keep)
    wanted = OutputSettings(masks=False, confidence=False)
    table = predicted(reader, [write_clip(tmp_path / "clip.avi")], tmp_path / "out", outputs=wanted)
    assert table.loc["clip.avi", "frames"] == 60
    assert table.loc["clip.avi", "reason"] == "400 x frame of 50x40 px in a clip of 160x120 px"
    assert drawn == {number: hashlib.sha256(fan(number).tobytes()).digest() for number in range(60)}
    assert most < 90, "forty looked at first, and a few batches"


def test_names_with_spaces_and_in_other_alphabets(reader, tmp_path):
    names = ["mein Schädel.png", "腕 1.png", "=1+1.png", "a'b\"c;d.png", "кисть.png"]
    for name in names:
        (tmp_path / name).write_bytes(cv2.imencode(".png", fan())[1].tobytes())
    table = predicted(reader, [tmp_path / name for name in names], tmp_path / "out")
    assert set(table["status"]) == {"predicted"}
    assert list(table.index) == names
    assert list(pd.read_csv(tmp_path / "out/frames.csv")["file"]) == names
    assert all(name.isascii() for name in files_below(tmp_path / "out"))


def test_again_into_the_same_folder_replaces_whole_results(reader, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", frames=6)
    first = predicted(reader, [clip], tmp_path / "out")
    write_clip(clip, frames=2)
    second = predicted(reader, [clip], tmp_path / "out")
    assert first["output"].equals(second["output"])
    folder = tmp_path / "out" / second["output"].iloc[0]
    assert len(list((folder / "masks").iterdir())) == 2
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_an_interrupted_clip_leaves_nothing(reader, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi")

    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.OverlaySink, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predicted(reader, [clip], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(reader, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi")

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.PngSink, "add", full)
    table = predicted(reader, [clip], tmp_path / "out")
    assert "No space left" in table.loc["clip.avi", "reason"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"files.csv", "frames.csv"}


def test_a_link_in_the_place_of_a_result_is_not_followed(reader, tmp_path):
    clip = write_clip(tmp_path / "clip.avi")
    output = predicted(reader, [clip], tmp_path / "first").loc["clip.avi", "output"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / output).symlink_to(tmp_path / "elsewhere")
    table = predicted(reader, [clip], tmp_path / "out")
    assert "no folder of ours" in table.loc["clip.avi", "reason"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_empty_folder(reader, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CrossprobeError, match="nothing to predict"):
        predicted(reader, [tmp_path / "nothing"], tmp_path / "out")


MEMORY = """
import json, resource, sys
from pathlib import Path
from small_model import CPU
from crossprobe.prediction.judged import Reader
from crossprobe.prediction.package import Package
from crossprobe.prediction.predict_files import predict_files
from crossprobe.prediction.settings import OutputSettings, PredictionSettings
reader = Reader(Package.load(Path(sys.argv[1])), CPU)
wanted = OutputSettings(confidence=False, nifti=True)
settings = PredictionSettings(outputs=wanted)
table = predict_files(reader, [Path(sys.argv[2])], Path(sys.argv[3]), settings, "s" * 8)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([int(table["frames"].sum()), peak / 1024]))
"""


def peak_mb(packaged, clip, folder, frames):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, packaged, clip, folder],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    seen, peak = json.loads(done.stdout.splitlines()[-1])
    assert seen == frames
    return peak


@pytest.mark.slow
def test_memory_stays_flat_over_ten_times_the_frames(packaged, tmp_path, capsys):
    """CROSSPROBE_FRAMES=1000 compares clips of 1,000 and 10,000 frames; that takes minutes."""
    fewer = int(os.environ.get("CROSSPROBE_FRAMES", "100"))
    few, many = (
        peak_mb(packaged, write_clip(tmp_path / f"{count}.avi", count), tmp_path / f"out{count}", count)
        for count in (fewer, 10 * fewer)
    )
    with capsys.disabled():
        print(f"\npeak memory: {few:.1f} MB for {fewer} frames, {many:.1f} MB for {10 * fewer}")  # noqa: T201
    # A thousand frames decoded are 19 MB, and their masks as much again.
    assert many - few < 10, (few, many)
