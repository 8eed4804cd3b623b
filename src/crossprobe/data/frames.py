"""Builds a site's frame store: in parallel, video by video, cached by content, and never half-written."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from crossprobe.data.fingerprint import code_hash, file_hash, fingerprint
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FORMAT, read_description, read_rejections
from crossprobe.data.manifest import (
    ManifestSchema,
    RecordingSchema,
    Rejection,
    checked,
    rejection_table,
)
from crossprobe.data.mask_files import mask_files, mask_pieces
from crossprobe.data.recording_frames import STAGE, RecordingFrames, write_recording
from crossprobe.errors import InvalidMetadata, StoreError
from crossprobe.progress import track

__all__ = ["FrameSettings", "build_frame_store"]

CODE = (
    "crossprobe.data.array_file",
    "crossprobe.data.dicom",
    "crossprobe.data.frame_store",
    "crossprobe.data.geometry",
    "crossprobe.data.mask_files",
    "crossprobe.data.overlay",
    "crossprobe.data.preprocessing",
    "crossprobe.data.recording_frames",
    "crossprobe.data.ultrasound_area",
    "crossprobe.data.video",
)
BUILDING = ".building-"


def build_frame_store(
    recordings: pd.DataFrame, settings: FrameSettings, root: Path, site: str, workers: int | None = None
) -> tuple[Path, pd.DataFrame]:
    """Decodes a site's recordings into a frame store, or finds the one that is already there.

    The store is written into a temporary folder beside and renamed when complete, so a folder of the final
    name is always whole. Where recordings, their files, the settings and this code are unchanged, nothing is
    decoded.

    Args:
        recordings: Table that fits `RecordingSchema`, of this site only.
        settings: How frames are made.
        root: Folder for frame stores; made where missing.
        site: The site's name.
        workers: Processes; None takes the settings' number. 1 works in this process.

    Returns:
        The store's folder `<root>/<fingerprint[:16]>`, and the table of what was dropped.

    Raises:
        InvalidMetadata: No recordings, or those of another site.
        StoreError: No frame is left, the disk is full, or a worker died.
    """
    recordings = _checked_recordings(recordings, site)
    root = Path(root)
    mark = _fingerprint(recordings, settings)
    final = root / mark[:16]
    if _is_whole(final, mark):
        return final, read_rejections(final)
    with _writing(root):
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        temporary = root / f"{BUILDING}{mark[:16]}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
    try:
        with _writing(root):
            (temporary / "videos").mkdir(parents=True)
            count = settings.workers if workers is None else workers
            results = list(_results(recordings, settings, temporary, count or os.cpu_count() or 1))
            rejections = _write_tables(results, recordings, settings, temporary, mark)
            _publish(temporary, final, mark)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final, rejections


def _checked_recordings(recordings: pd.DataFrame, site: str) -> pd.DataFrame:
    if recordings.empty:
        raise InvalidMetadata(f"site {site!r} has no recordings; see the rejections of its ingest stage")
    recordings = checked(recordings, RecordingSchema, f"recordings of site {site!r}")
    others = sorted(set(recordings["site"]) - {site})
    if others:
        raise InvalidMetadata(f"recordings of site {others} were given to the frames stage of site {site!r}")
    return recordings.sort_values("video", kind="stable").reset_index(drop=True)


def _records(recordings: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain dictionaries with None for what is missing, cheap to send to a worker."""
    plain = recordings.astype(object).where(recordings.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def _fingerprint(recordings: pd.DataFrame, settings: FrameSettings) -> str:
    """Hashes the table, every file it names, the settings and the code."""
    contents = []
    records = _records(recordings)
    for record in track(records, "hashing recordings", total=len(records)):
        files = [Path(record["path"])]
        for column in ("masks", "truths"):
            masks = sorted(mask_files(record[column])[0].items())
            files.extend(piece for _, mask in masks for piece in mask_pieces(mask))
        contents.append([(str(file), file_hash(file) if file.is_file() else None) for file in files])
    return fingerprint(FORMAT, records, contents, settings.model_dump(exclude={"workers"}), code_hash(*CODE))


def _is_whole(folder: Path, mark: str) -> bool:
    if not (folder / "store.json").is_file():
        return False
    try:
        return read_description(folder).get("fingerprint") == mark
    except StoreError:
        return False


def _results(
    recordings: pd.DataFrame, settings: FrameSettings, temporary: Path, workers: int
) -> Iterator[RecordingFrames]:
    """Runs one task a recording; only rows and counts come back, so memory does not grow with pixels."""
    records = _records(recordings)
    videos = temporary / "videos"
    if min(workers, len(records)) == 1:
        for record in track(records, "decoding frames", total=len(records)):
            yield write_recording(record, settings, videos)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(records)), mp_context=context) as pool:
        futures = [pool.submit(write_recording, record, settings, videos) for record in records]
        try:
            for future in track(as_completed(futures), "decoding frames", total=len(futures)):
                yield future.result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise StoreError(
                    f"{temporary.parent}: a process that decodes frames died (out of memory, or killed); "
                    "give fewer workers and run again"
                ) from error
            raise


def _write_tables(
    results: list[RecordingFrames],
    recordings: pd.DataFrame,
    settings: FrameSettings,
    temporary: Path,
    mark: str,
) -> pd.DataFrame:
    """Writes manifest, rejections and tally, and store.json after them."""
    rows = [row for result in results for row in result.rows]
    rejected = [item for result in results for item in result.rejections]
    kept = {row["patient"] for row in rows}
    site = str(recordings["site"].iloc[0])
    for patient in sorted(set(recordings["patient"]) - kept):
        rejected.append(Rejection(site, STAGE, patient, "patient lost: every recording was rejected"))
    rejections = rejection_table(sorted(rejected))
    if not rows:
        shown = "; ".join(f"{item.item}: {item.reason}" for item in sorted(rejected)[:3])
        raise StoreError(f"site {site!r}: no frame is left of {len(recordings)} recordings ({shown})")
    manifest = pd.DataFrame(rows).sort_values(["video", "frame"]).reset_index(drop=True)
    manifest = checked(manifest, ManifestSchema, f"manifest of site {site!r}")
    tally = pd.DataFrame([result.tally for result in results if result.rows])
    manifest.to_parquet(temporary / "manifest.parquet", index=False)
    rejections.to_parquet(temporary / "rejections.parquet", index=False)
    tally.sort_values("video").to_parquet(temporary / "recordings.parquet", index=False)
    description = {"format": FORMAT, "size": settings.size, "fingerprint": mark, "rows": len(manifest)}
    draft = temporary / "store.json.draft"
    draft.write_text(json.dumps({**description, "site": site}, indent=1), encoding="utf-8")
    os.replace(draft, temporary / "store.json")
    return rejections


def _publish(temporary: Path, final: Path, mark: str) -> None:
    """Renames the finished folder; a store that another process finished first is as good as ours."""
    if _is_whole(final, mark):
        return
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)


def _remove_abandoned(root: Path) -> None:
    """Deletes what killed builds left behind; the process id in the name says whether one still runs."""
    for folder in root.glob(f"{BUILDING}*"):
        process = folder.name.rpartition("-")[2]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turns what the system says about a failed write into what the user can do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "the disk is full; free some space or choose another folder"
        else:
            what = f"cannot write ({error})"
        raise StoreError(f"{root}: {what}. The unfinished frame store was removed; run again") from error
