"""A whole site on disk in the documented clinical layout: made once, in parallel, all or nothing."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossprobe.data.fingerprint import code_hash, fingerprint
from crossprobe.errors import StoreError
from crossprobe.phantom.bone import FractureKind
from crossprobe.phantom.recording import write_dicom, write_mask, write_video
from crossprobe.phantom.settings import PhantomSettings, SiteName
from crossprobe.phantom.video import SITE_CODE, VideoJob, simulate_video
from crossprobe.progress import track

RECORD_NAME = "phantom.json"
COLUMNS = ("file", "patient", "operator", "device", "view", "spacing_mm", "class")


class PhantomRecord(BaseModel):
    """What a finished folder holds, written last; a folder without it is not a phantom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = Field(description="Which site.")
    device: str = Field(description="Name of its probe.")
    patients: int = Field(ge=0, description="Patients in the folder.")
    fractured_patients: int = Field(ge=0, description="Those with a fracture.")
    videos: int = Field(ge=0, description="Video files.")
    frames: int = Field(ge=0, description="Frames over all videos.")
    labelled_frames: int = Field(ge=0, description="Frames with a mask.")
    settings_hash: str = Field(description="SHA-256 of the settings: the frozen hash to report.")
    fingerprint: str = Field(description="SHA-256 of settings, site and code: decides whether to remake.")


def read_record(folder: Path) -> PhantomRecord | None:
    """Reads a folder's record.

    Args:
        folder: Where a phantom may lie.

    Returns:
        The record, or None where there is no finished phantom.
    """
    try:
        return PhantomRecord.model_validate_json((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def phantom_fingerprint(settings: PhantomSettings, site: SiteName) -> str:
    """Hashes all that decides a site's content: effective settings and this package's code.

    Args:
        settings: The phantom.
        site: Which site.

    Returns:
        64 hex digits.
    """
    shared = (settings.seed, settings.frame_height_px, settings.frame_width_px, settings.anatomy)
    return fingerprint(shared, site, settings.site(site), code_hash("crossprobe.phantom"))


def plan_jobs(settings: PhantomSettings, site: SiteName) -> list[VideoJob]:
    """Lists a site's videos: exactly the settings' share of patients is fractured, kinds in turn.

    Args:
        settings: The phantom.
        site: Which site.

    Returns:
        The videos, by patient.
    """
    effective = settings.site(site)
    random = np.random.default_rng(np.random.SeedSequence((settings.seed, SITE_CODE[site])))
    broken = round(settings.anatomy.fracture_share * effective.patients)
    cycle: tuple[FractureKind, ...] = ("step", "buckle", "gap")
    kinds: list[FractureKind] = [cycle[order % 3] for order in range(broken)]
    kinds += ["none"] * (effective.patients - broken)
    jobs = []
    for patient, order in enumerate(random.permutation(effective.patients)):
        low, high = effective.videos_per_patient
        views = random.permutation(len(effective.views))[: random.integers(low, high + 1)]
        jobs += [VideoJob(site, patient, effective.views[view], kinds[order]) for view in sorted(views)]
    return jobs


def generate(settings: PhantomSettings, site: SiteName, folder: Path, workers: int) -> PhantomRecord:
    """Makes a site's folder, or leaves it alone where it already holds exactly this phantom.

    Everything is written beside `folder` first and renamed at the end, so no reader ever meets half of it.

    Args:
        settings: The phantom.
        site: Which site.
        folder: Where it shall lie; a finished phantom with another fingerprint there is replaced.
        workers: Processes; 0 or 1 stays in this one.

    Returns:
        The record, as written to `phantom.json`.

    Raises:
        StoreError: The folder holds something that is not a phantom.
    """
    folder = Path(folder)
    wanted = phantom_fingerprint(settings, site)
    found = read_record(folder)
    if found is not None and found.fingerprint == wanted:
        return found
    if found is None and folder.exists() and any(folder.iterdir()):
        raise StoreError(f"{folder}: holds files but no {RECORD_NAME}; give an empty folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        record = _fill(settings, site, draft, workers, wanted)
        if folder.exists():
            folder.rename(draft / ".replaced")
        (draft / "content").rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return record


def _fill(settings: PhantomSettings, site: SiteName, draft: Path, workers: int, wanted: str) -> PhantomRecord:
    """Writes videos, masks, the table and, last, the record."""
    content = draft / "content"
    for name in ("videos", "masks", "truths"):
        (content / name).mkdir(parents=True)
    jobs = plan_jobs(settings, site)
    rows = list(track(_write_all(settings, jobs, content, workers), f"phantom {site}", len(jobs)))
    with open(content / "metadata.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    record = PhantomRecord(
        site=site,
        device=settings.site(site).probe.name,
        patients=len({job.patient for job in jobs}),
        fractured_patients=len({job.patient for job in jobs if job.kind != "none"}),
        videos=len(jobs),
        frames=sum(row["frames"] for row in rows),
        labelled_frames=sum(row["labelled"] for row in rows),
        settings_hash=fingerprint(settings),
        fingerprint=wanted,
    )
    text = json.dumps(record.model_dump(), indent=2) + "\n"
    (content / RECORD_NAME).write_text(text, encoding="utf-8")
    return record


def _write_all(
    settings: PhantomSettings, jobs: list[VideoJob], content: Path, workers: int
) -> Iterator[dict]:
    calls: Iterable[tuple] = ((settings, job, content) for job in jobs)
    if workers <= 1:
        yield from map(_write_one, calls)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(_write_one, calls)


def _one_thread() -> None:
    """Workers share the machine: one thread each."""
    cv2.setNumThreads(1)


def _write_one(call: tuple[PhantomSettings, VideoJob, Path]) -> dict:
    """Simulates a video, writes its files and gives its row of the table."""
    settings, job, content = call
    site = settings.site(job.site)
    choice = np.random.default_rng(
        np.random.SeedSequence((settings.seed, SITE_CODE[job.site], job.patient, 9))
    )
    operator = site.operator.names[int(choice.integers(len(site.operator.names)))]
    dicom = _share_falls_here(site.dicom_share, settings, job)
    video = simulate_video(settings, job)
    stem = f"{job.site[0].upper()}{job.patient + 1:03d}_{job.view}"
    path = content / "videos" / f"{stem}.{'dcm' if dicom else site.container}"
    if dicom:
        write_dicom(path, video.frames, video.screen, site.probe.name, site.probe.frames_per_s)
    else:
        write_video(path, video.frames, site.probe.frames_per_s)
    for name, masks in (("masks", video.masks), ("truths", video.truths)):
        target = content / name / stem
        target.mkdir()
        for frame, mask in masks.items():
            write_mask(target / f"{frame:06d}.png", mask)
    return {
        "file": f"videos/{path.name}",
        "patient": f"{job.site[0].upper()}{job.patient + 1:03d}",
        "operator": operator,
        "device": site.probe.name,
        "view": job.view,
        "spacing_mm": f"{video.screen.spacing_mm:.6f}",
        "class": "no_fracture" if job.kind == "none" else "fracture",
        "frames": len(video.frames),
        "labelled": len(video.masks),
    }


def _share_falls_here(share: float, settings: PhantomSettings, job: VideoJob) -> bool:
    """Spreads a share evenly over the jobs, so that even a small cohort gets its DICOM files."""
    order = plan_jobs(settings, job.site).index(job)
    return int((order + 1) * share + 0.5) > int(order * share + 0.5)
