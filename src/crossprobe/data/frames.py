"""Builds a site's frame store: in parallel, cached recording by recording, and never half-written."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossprobe.data.fingerprint import code_hash, file_hash, fingerprint
from crossprobe.data.folder_lock import folder_lock
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FORMAT, read_description, read_rejections
from crossprobe.data.manifest import (
    ManifestSchema,
    RecordingSchema,
    Rejection,
    checked,
    rejection_table,
)
from crossprobe.data.mask_files import mask_files
from crossprobe.data.recording_frames import STAGE, RecordingFrames
from crossprobe.data.recording_parts import (
    BUILDING,
    CHANGED,
    DECODING_CODE,
    PARTS,
    RecordingContent,
    decode_part,
    decoding_mark,
    flush,
    once,
    part_is_whole,
    part_key,
    recording_content,
    take_part,
)
from crossprobe.data.store_cleaning import remove_abandoned, remove_old_stores, remove_once
from crossprobe.errors import InvalidMetadata, StoreError
from crossprobe.progress import track

__all__ = ["BuiltStore", "FrameSettings", "build_frame_store", "update_frame_store"]

CODE = (*DECODING_CODE, "crossprobe.data.frame_store", "crossprobe.data.recording_parts")
# Columns that say where files lie.
PLACES = ("path", "masks", "truths")
KEEP_STORES = 3
LOCK_WAIT_S = 600.0
# Starting a process takes longer than decoding a few clips.
SMALLEST_POOL = 4


@dataclass(frozen=True)
class BuiltStore:
    """What building a store did.

    Attributes:
        path: The store's folder `<root>/<fingerprint[:16]>`.
        rejections: Table of what was dropped.
        decoded: Videos that were decoded now, sorted.
        taken_over: How many recordings came from what an earlier build had decoded.
        contents: Content hashes by video.
        left: Videos that changed while they were read and are left for the next time, sorted.
    """

    path: Path
    rejections: pd.DataFrame
    decoded: tuple[str, ...]
    taken_over: int
    contents: dict[str, RecordingContent]
    left: tuple[str, ...] = ()


def build_frame_store(
    recordings: pd.DataFrame, settings: FrameSettings, root: Path, site: str, workers: int | None = None
) -> tuple[Path, pd.DataFrame]:
    """Decodes a site's recordings into a frame store, or finds the one that is already there.

    As `update_frame_store`, for callers who want the store and nothing else.

    Args:
        recordings: Table that fits `RecordingSchema`, of this site only.
        settings: How frames are made.
        root: Folder for frame stores; made where missing.
        site: The site's name.
        workers: Processes; None takes the settings' number. 1 works in this process.

    Returns:
        The store's folder, and the table of what was dropped.

    Raises:
        InvalidMetadata: No recordings, or those of another site.
        StoreError: No frame is left, the disk is full, or a worker died.
        FolderBusy: Another process builds a store here.
    """
    built = update_frame_store(recordings, settings, root, site, workers)
    return built.path, built.rejections


def update_frame_store(
    recordings: pd.DataFrame,
    settings: FrameSettings,
    root: Path,
    site: str,
    workers: int | None = None,
    hash_file: Callable[[Path], str] = file_hash,
    keep_stores: int = KEEP_STORES,
    lock_wait_seconds: float = LOCK_WAIT_S,
) -> BuiltStore:
    """Makes the frame store of a site's recordings and decodes only what no earlier build has decoded.

    Every decoded recording is kept in `<root>/.parts` under a hash of its content, its masks, the settings
    and the code. A store is put together from parts by hard links (copies, where the file system has none)
    in a temporary folder that is renamed when complete: a folder of the final name is always whole, and
    equal byte for byte to what building it from nothing gives. A killed build leaves its finished parts to
    the next one.

    Args:
        recordings: Table that fits `RecordingSchema`, of this site only.
        settings: How frames are made.
        root: Folder for frame stores; made where missing.
        site: The site's name.
        workers: Processes; None takes the settings' number. 1 works in this process.
        hash_file: Gives the SHA-256 of a file.
        keep_stores: Stores that stay, the last used ones; older ones and the parts that only they use go.
        lock_wait_seconds: How long to wait for another process that builds here.

    Returns:
        The store and what was done for it.

    Raises:
        InvalidMetadata: No recordings, or those of another site.
        StoreError: No frame is left, the disk is full, or a worker died.
        FolderBusy: Another process still builds a store here after that time.
    """
    recordings = _checked_recordings(recordings, site)
    root = Path(root)
    with _writing(root), folder_lock(root, f"frames of site {site}", lock_wait_seconds):
        records = _records(recordings)
        contents = {
            record["video"]: recording_content(record, hash_file)
            for record in track(records, "hashing recordings", total=len(records))
        }
        mark = _fingerprint(records, contents, settings)
        final = root / mark[:16]
        if _is_whole(final, mark):
            os.utime(final)
            _find_again(final, records)
            return BuiltStore(final, read_rejections(final), (), len(records), contents)
        root.mkdir(parents=True, exist_ok=True)
        remove_abandoned(root)
        count = settings.workers if workers is None else workers
        built = _build(records, settings, root, contents, count or os.cpu_count() or 1)
        _find_again(built.path, records)
        remove_old_stores(root, built.path, keep_stores)
        return built


def _build(
    records: list[dict[str, Any]],
    settings: FrameSettings,
    root: Path,
    contents: dict[str, RecordingContent],
    workers: int,
) -> BuiltStore:
    """Decodes what is missing and puts the store together in a temporary folder."""
    parts = root / PARTS
    how = decoding_mark(settings)
    names = {record["video"]: part_key(record, contents[record["video"]], how) for record in records}
    jobs = _missing(records, names, parts)
    temporary = root / f"{BUILDING}store-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        parts.mkdir(exist_ok=True)
        (temporary / "videos").mkdir(parents=True)
        answers = dict(_results(jobs, settings, parts, contents, names, workers))
        results: list[RecordingFrames] = []
        for record in track(records, "collecting frames", total=len(records)):
            video = record["video"]
            part = parts / (names[video] or once(video))
            told = answers.get(video)
            if told is None and not part_is_whole(part):
                # A copy of a recording that changed while it was read: it has to be read by itself.
                told = answers[video] = decode_part(record, settings, parts, names[video], contents[video])
            # A recording of which nothing was kept comes with its reason.
            if told is None or not told.rejections:
                told = take_part(record, part, temporary / "videos")
            results.append(told)
        unkept = {video: answer.rejections for video, answer in answers.items() if answer.rejections}
        mark = _fingerprint(records, contents, settings, unkept)
        rejections = _write_tables(results, records, temporary)
        (temporary / "parts.json").write_text(json.dumps(names, indent=0), encoding="utf-8")
        _finish(temporary, settings, mark, records[0]["site"], sum(len(result.rows) for result in results))
        _publish(temporary, root / mark[:16], mark)
    except OSError:
        # Whatever the reason, space is short or unsure: leave nothing that this build made.
        for record in jobs:
            shutil.rmtree(parts / (names[record["video"]] or once(record["video"])), ignore_errors=True)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        remove_once(parts)
    decoded = tuple(sorted(record["video"] for record in jobs))
    left = tuple(sorted(v for v, items in unkept.items() if any(item.reason == CHANGED for item in items)))
    return BuiltStore(root / mark[:16], rejections, decoded, len(records) - len(decoded), contents, left)


def _missing(
    records: list[dict[str, Any]], names: dict[str, str | None], parts: Path
) -> list[dict[str, Any]]:
    """Recordings that must be decoded; of several with one content, the first."""
    jobs, seen = [], set()
    for record in records:
        name = names[record["video"]]
        if name is None or (name not in seen and not part_is_whole(parts / name)):
            jobs.append(record)
        seen.add(name)
    return jobs


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


def _fingerprint(
    records: list[dict[str, Any]],
    contents: dict[str, RecordingContent],
    settings: FrameSettings,
    unkept: dict[str, list[Rejection]] | None = None,
) -> str:
    """Hashes the table, its files, the settings and the code, and what could not be read this time.

    Where the files lie does not count, so that a project can be moved: `video` stands for the place of a
    recording in its folder.
    """
    rows = [{name: value for name, value in record.items() if name not in PLACES} for record in records]
    files = [_files(contents[record["video"]]) for record in records]
    parts: list[Any] = [FORMAT, rows, files, settings.model_dump(exclude={"workers"}), code_hash(*CODE)]
    if unkept:
        parts.append({video: [tuple(item) for item in items] for video, items in unkept.items()})
    return fingerprint(*parts)


def _files(content: RecordingContent) -> tuple[Any, ...]:
    """The hashes of a recording's files, by suffix or name; `labels` tells masks from truths."""
    (video, digest), *others = content.files
    return (
        Path(video).suffix.lower(), digest, content.labels, [(Path(name).name, h) for name, h in others]
    )  # fmt: skip


def _find_again(store: Path, records: list[dict[str, Any]]) -> None:
    """Gives the manifest of a finished store the paths of today, if the data were moved since."""
    manifest = pd.read_parquet(store / "manifest.parquet")
    labels = {record["video"]: [mask_files(record[kind])[0] for kind in ("masks", "truths")]
              for record in records}  # fmt: skip
    paths = {record["video"]: record["path"] for record in records}
    found: dict[str, list[str | None]] = {"path": [], "mask_path": [], "truth_path": []}
    columns = (manifest[name] for name in ("video", "frame", "labelled"))
    for video, frame, labelled in zip(*columns, strict=True):
        masks, truths = labels[video]
        mask, truth = masks.get(frame) if labelled else None, truths.get(frame)
        found["path"].append(paths[video])
        found["mask_path"].append(None if mask is None else str(mask))
        found["truth_path"].append(None if truth is None else str(truth))
    today = manifest.copy()
    for name, values in found.items():
        today[name] = values
    if today[list(found)].fillna("").equals(manifest[list(found)].fillna("")):
        return
    draft = store / f"manifest.parquet.{os.getpid()}"
    try:
        checked(today, ManifestSchema, f"manifest of {store}").to_parquet(draft, index=False)
        flush(draft)
        os.replace(draft, store / "manifest.parquet")
    finally:
        draft.unlink(missing_ok=True)


def _is_whole(folder: Path, mark: str) -> bool:
    if not (folder / "store.json").is_file():
        return False
    try:
        return read_description(folder).get("fingerprint") == mark
    except StoreError:
        return False


def _results(
    jobs: list[dict[str, Any]],
    settings: FrameSettings,
    parts: Path,
    contents: dict[str, RecordingContent],
    names: dict[str, str | None],
    workers: int,
) -> Iterator[tuple[str, RecordingFrames]]:
    """Runs one task a recording; only counts come back, so memory does not grow with pixels."""
    tasks = {
        job["video"]: (job, settings, parts, names[job["video"]], contents[job["video"]]) for job in jobs
    }
    if min(workers, len(jobs)) <= 1 or len(jobs) < SMALLEST_POOL:
        for video, task in track(tasks.items(), "decoding frames", total=len(jobs)):
            yield video, decode_part(*task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures = {pool.submit(decode_part, *task): video for video, task in tasks.items()}
        try:
            for future in track(as_completed(futures), "decoding frames", total=len(futures)):
                yield futures[future], future.result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise StoreError(
                    f"{parts.parent}: a process that decodes frames died (out of memory, or killed); "
                    "give fewer workers and run again"
                ) from error
            raise


def _write_tables(
    results: list[RecordingFrames],
    records: list[dict[str, Any]],
    temporary: Path,
) -> pd.DataFrame:
    """Writes manifest, rejections and tally."""
    rows = [row for result in results for row in result.rows]
    rejected = [item for result in results for item in result.rejections]
    kept = {row["patient"] for row in rows}
    site = str(records[0]["site"])
    for patient in sorted({record["patient"] for record in records} - kept):
        rejected.append(Rejection(site, STAGE, patient, "patient lost: every recording was rejected"))
    rejections = rejection_table(sorted(rejected))
    if not rows:
        shown = "; ".join(f"{item.item}: {item.reason}" for item in sorted(rejected)[:3])
        raise StoreError(f"site {site!r}: no frame is left of {len(records)} recordings ({shown})")
    manifest = pd.DataFrame(rows).sort_values(["video", "frame"]).reset_index(drop=True)
    manifest = checked(manifest, ManifestSchema, f"manifest of site {site!r}")
    tally = pd.DataFrame([result.tally for result in results if result.rows])
    manifest.to_parquet(temporary / "manifest.parquet", index=False)
    rejections.to_parquet(temporary / "rejections.parquet", index=False)
    tally.sort_values("video").to_parquet(temporary / "recordings.parquet", index=False)
    return rejections


def _finish(temporary: Path, settings: FrameSettings, mark: str, site: str, rows: int) -> None:
    """Writes store.json, without which nobody reads the folder, after everything else is on the disk."""
    for file in temporary.iterdir():
        flush(file)
    description = {"format": FORMAT, "size": settings.size, "fingerprint": mark, "rows": rows, "site": site}
    draft = temporary / "store.json.draft"
    draft.write_text(json.dumps(description, indent=1), encoding="utf-8")
    flush(draft)
    os.replace(draft, temporary / "store.json")
    flush(temporary)


def _publish(temporary: Path, final: Path, mark: str) -> None:
    """Renames the finished folder; a store that another process finished first is as good as ours."""
    if _is_whole(final, mark):
        return
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    flush(final.parent)


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
