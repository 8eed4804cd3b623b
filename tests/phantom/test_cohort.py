from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import cv2
import pydicom
import pytest

from crossprobe.errors import StoreError
from crossprobe.phantom import cohort
from crossprobe.phantom.cohort import generate, phantom_fingerprint, plan_jobs, read_record
from crossprobe.phantom.settings import PhantomSettings

SMALL = PhantomSettings.model_validate(
    {
        "frame_height_px": 200,
        "frame_width_px": 250,
        "target": {"patients": 2, "frames_per_video": 9, "videos_per_patient": (2, 2), "dicom_share": 0.25},
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "target"
    generate(SMALL, "target", path, workers=1)
    return path


def _rows(folder):
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_layout_is_the_documented_one(folder):
    rows = _rows(folder)
    assert list(rows[0]) == ["file", "patient", "operator", "device", "view", "spacing_mm", "class"]
    assert {row["class"] for row in rows} == {"fracture", "no_fracture"}
    assert {row["device"] for row in rows} == {"micrus_like"}
    assert Counter((folder / row["file"]).suffix for row in rows) == {".avi": 3, ".dcm": 1}
    for row in rows:
        stem = (folder / row["file"]).stem
        masks = sorted(path.name for path in (folder / "masks" / stem).iterdir())
        assert masks == sorted(path.name for path in (folder / "truths" / stem).iterdir())
        assert masks
        assert all(len(name) == len("000000.png") for name in masks)


def test_files_open_and_agree_in_size(folder):
    for row in _rows(folder):
        path = folder / row["file"]
        mask = next((folder / "masks" / path.stem).iterdir())
        size = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED).shape
        if path.suffix == ".dcm":
            data = pydicom.dcmread(path)
            assert data.pixel_array.shape == (9, *size)
            assert float(data.PixelSpacing[0]) == pytest.approx(float(row["spacing_mm"]), abs=1e-6)
        else:
            capture = cv2.VideoCapture(str(path))
            assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 9
            assert capture.read()[1].shape[:2] == size == (200, 250)


def test_record_counts_what_is_there(folder):
    record = read_record(folder)
    assert record is not None
    assert (record.patients, record.videos, record.frames) == (2, 4, 36)
    assert record.fractured_patients == 1
    assert record.labelled_frames == len(list((folder / "masks").rglob("*.png")))
    assert len(record.settings_hash) == len(record.fingerprint) == 64


def test_a_second_call_does_nothing(folder, monkeypatch):
    monkeypatch.setattr(cohort, "simulate_video", lambda *_: pytest.fail("simulated again"))
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert generate(SMALL, "target", folder, workers=1) == read_record(folder)
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_fingerprint_follows_what_matters_to_the_site():
    base = phantom_fingerprint(SMALL, "target")
    assert phantom_fingerprint(SMALL.model_copy(update={"severity": 0.5}), "target") != base
    assert phantom_fingerprint(SMALL.model_copy(update={"seed": 1}), "target") != base
    more = SMALL.model_copy(update={"unseen": SMALL.unseen.model_copy(update={"patients": 3})})
    assert phantom_fingerprint(more, "target") == base


def test_a_changed_phantom_replaces_the_old_one(tmp_path):
    place = tmp_path / "site"
    tiny = SMALL.model_validate(
        {**SMALL.model_dump(), "target": {"patients": 2, "frames_per_video": 2, "videos_per_patient": (1, 1)}}
    )
    first = generate(tiny, "target", place, workers=1)
    second = generate(tiny.model_copy(update={"seed": 5}), "target", place, workers=1)
    assert first.fingerprint != second.fingerprint
    assert read_record(place) == second
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds files but no"):
        generate(SMALL, "target", tmp_path, workers=1)
    assert (tmp_path / "thesis.txt").exists()


def test_an_error_half_way_leaves_nothing(tmp_path, monkeypatch):
    done = []

    def breaks(path, *_):
        done.append(path)
        if len(done) > 3:
            raise OSError("disk full")

    monkeypatch.setattr(cohort, "write_mask", breaks)
    with pytest.raises(OSError, match="disk full"):
        generate(SMALL, "target", tmp_path / "site", workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_kill_half_way_leaves_no_finished_record(tmp_path):
    code = (
        "from pathlib import Path; from crossprobe.phantom.cohort import generate; "
        "from crossprobe.phantom.settings import PhantomSettings; "
        f"generate(PhantomSettings(), 'target', Path({str(tmp_path / 'site')!r}), 1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.avi")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.rglob("*.avi"))
    assert not (tmp_path / "site").exists()
    assert not list(tmp_path.rglob("phantom.json"))


@pytest.mark.slow
def test_workers_do_not_change_the_bytes(folder, tmp_path):
    generate(SMALL, "target", tmp_path / "site", workers=2)
    for path in folder.rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "site" / path.relative_to(folder)).read_bytes()
    for path in folder.rglob("*.dcm"):
        assert path.read_bytes() == (tmp_path / "site" / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("site", ["source", "target", "unseen"])
def test_half_of_the_patients_are_fractured_in_every_video(site):
    jobs = plan_jobs(PhantomSettings(), site)
    kinds = {job.patient: job.kind for job in jobs}
    assert all(kinds[job.patient] == job.kind for job in jobs)
    assert sum(kind != "none" for kind in kinds.values()) == len(kinds) // 2
    assert {"step", "buckle", "gap"} <= set(kinds.values())
    assert len(jobs) == len({(job.patient, job.view) for job in jobs})
