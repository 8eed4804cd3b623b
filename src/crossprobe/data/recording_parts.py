"""Decoded recordings kept by their content, so that a new store takes over what was decoded for an older one.

A part is what one recording gives whatever it is called and whoever is on it: its arrays, and of each kept
frame where it stands in the file, its crop and its hash. The names come from the recording when a store is
put together.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossprobe.data.file_hashes import FileState, file_state
from crossprobe.data.fingerprint import code_hash, fingerprint
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.manifest import Rejection
from crossprobe.data.mask_files import mask_files, mask_pieces
from crossprobe.data.recording_frames import CARRIED, STAGE, RecordingFrames, write_recording

FORMAT = "crossprobe-part-1"
PARTS = ".parts"
BUILDING = ".building-"
ONCE = "once-"
ARRAYS = ("images.npy", "masks.npy")
DECODING_CODE = (
    "crossprobe.data.array_file",
    "crossprobe.data.dicom",
    "crossprobe.data.geometry",
    "crossprobe.data.mask_files",
    "crossprobe.data.media_limits",
    "crossprobe.data.overlay",
    "crossprobe.data.preprocessing",
    "crossprobe.data.recording_frames",
    "crossprobe.data.ultrasound_area",
    "crossprobe.data.video",
)
HOLE_BYTES = 1 << 16
CHANGED = "changed while it was read; left for the next time"


@dataclass(frozen=True)
class RecordingContent:
    """Content hashes of a recording's files.

    Attributes:
        video: SHA-256 of the recording; None if it is gone or may not be read.
        files: Every file in a fixed order with its hash, truths included.
        states: What the file system said about each, to notice a change while decoding.
        labels: Hash of the masks with their frame numbers; None where there are none.
        unreadable: Why a file cannot be read, if one cannot.
    """

    video: str | None
    files: list[tuple[str, str | None]]
    states: dict[str, FileState]
    labels: str | None
    unreadable: str | None = None


def recording_files(record: Mapping[str, Any]) -> list[Path]:
    """Lists the files of a recording: itself, its masks and its truths, in a fixed order.

    Args:
        record: A row of the recordings table.

    Returns:
        The files, whether they are there or not.
    """
    folders = (record["masks"], record["truths"])
    labels = [mask_files(folder if isinstance(folder, str) else None)[0] for folder in folders]
    masks = [files[frame] for files in labels for frame in sorted(files)]
    return [Path(record["path"]), *(piece for mask in masks for piece in mask_pieces(mask))]


def recording_content(record: Mapping[str, Any], hash_file: Callable[[Path], str]) -> RecordingContent:
    """Hashes a recording and its masks and truths.

    Args:
        record: A row of the recordings table.
        hash_file: Gives the hash of a file.

    Returns:
        The hashes; a file that cannot be read has None.
    """
    masks, strangers = mask_files(record["masks"])
    paths = recording_files(record)
    hashes: dict[str, str | None] = {}
    states: dict[str, FileState] = {}
    unreadable = None
    for path in paths:
        name = str(path)
        hashes[name] = None
        try:
            if path.is_file():
                states[name] = file_state(path)
                hashes[name] = hash_file(path)
        except OSError as error:
            what = "the recording" if path == paths[0] else "a mask"
            unreadable = unreadable or (
                f"{what} cannot be read ({error.strerror}); let the account that runs this read it"
            )
    labels = [
        (frame, piece.name, hashes[str(piece)])
        for frame, mask in sorted(masks.items())
        for piece in mask_pieces(mask)
    ]
    return RecordingContent(
        hashes[str(paths[0])],
        [(str(path), hashes[str(path)]) for path in paths],
        states,
        fingerprint(labels, len(strangers)) if labels or strangers else None,
        unreadable,
    )


def decoding_mark(settings: FrameSettings) -> str:
    """Hashes how recordings are decoded.

    Args:
        settings: How frames are made.

    Returns:
        64 hex digits over settings and code.
    """
    return fingerprint(FORMAT, settings.model_dump(exclude={"workers"}), code_hash(*DECODING_CODE))


def part_key(record: Mapping[str, Any], content: RecordingContent, mark: str) -> str | None:
    """Names what decoding a recording gives.

    Args:
        record: A row of the recordings table.
        content: Its hashes.
        mark: From `decoding_mark`.

    Returns:
        32 hex digits over the content of the recording and its masks, the settings and the code; None where a
        file is missing or unreadable, because nothing may be remembered of what was not seen.
    """
    if None in [digest for _, digest in content.files]:
        return None
    suffix = Path(record["path"]).suffix.lower()
    return fingerprint(mark, suffix, content.video, content.labels)[:32]


def once(video: str) -> str:
    """Names a part that no later build may take over.

    Args:
        video: The recording's pseudonym.

    Returns:
        The name.
    """
    return ONCE + video


def decode_part(
    record: dict[str, Any], settings: FrameSettings, parts: Path, key: str | None, content: RecordingContent
) -> RecordingFrames:
    """Decodes a recording and keeps the result as a part; runs in a worker.

    The part appears under its name in one step, after its files are on the disk. Nothing is kept of a
    recording that changed meanwhile, or whose file could not be read this time.

    Args:
        record: A row of the recordings table.
        settings: How frames are made.
        parts: Folder of parts.
        key: Name of the part; None keeps nothing and gives the rejections only.
        content: The recording's hashes.

    Returns:
        Rejections alone, where nothing was kept; else empty.

    Raises:
        OSError: The disk is full.
    """
    site, video = record["site"], record["video"]
    if content.unreadable and content.video is None:
        return RecordingFrames(rejections=[Rejection(site, STAGE, video, content.unreadable)])
    name = key or once(video)
    temporary = parts / f"{BUILDING}{name}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        result = write_recording(record, settings, temporary)
        if _changed(content):
            return RecordingFrames(rejections=[Rejection(site, STAGE, video, CHANGED)])
        if key is None or _transient(result):
            if result.rows:
                # A mask may be missing or unreadable: the frames count, under a name of this build only.
                return _kept(result, temporary, parts, once(video), video)
            return RecordingFrames(rejections=result.rejections)
        return _kept(result, temporary, parts, key, video)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _kept(result: RecordingFrames, temporary: Path, parts: Path, key: str, video: str) -> RecordingFrames:
    folder = temporary / video
    folder.mkdir(exist_ok=True)
    names = (*CARRIED, "mask_path", "truth_path")
    text = {
        "format": FORMAT,
        "frames": [{name: row[name] for name in row if name not in names} for row in result.rows],
        "reasons": [item.reason for item in result.rejections],
        "tally": {name: value for name, value in result.tally.items() if name not in ("site", "video")},
        "bytes": {name: (folder / name).stat().st_size for name in ARRAYS if result.rows},
    }
    (folder / "part.json").write_text(json.dumps(text, default=_plain), encoding="utf-8")
    for file in (*folder.iterdir(), folder):
        flush(file)
    final = parts / key
    if part_is_whole(final):
        return RecordingFrames()
    shutil.rmtree(final, ignore_errors=True)
    try:
        os.rename(folder, final)
    except OSError:
        # Another worker had the same content under another name and was first.
        if not part_is_whole(final):
            raise
    return RecordingFrames()


def _plain(value: Any) -> Any:
    return value.item()


def _changed(content: RecordingContent) -> bool:
    for name, state in content.states.items():
        try:
            if file_state(name) != state:
                return True
        except OSError:
            return True
    return False


def _transient(result: RecordingFrames) -> bool:
    """Whether the reason may be gone next time: no memory, no network, not the file's own fault."""
    return any("cannot be read (" in item.reason for item in result.rejections)


def part_is_whole(folder: Path) -> bool:
    """Whether a part is complete and its arrays have the length they had when they were written.

    Args:
        folder: Of the part.
    """
    found = _read(folder)
    if found is None:
        return False
    try:
        return all((folder / name).stat().st_size == size for name, size in found["bytes"].items())
    except OSError:
        return False


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "part.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def take_part(record: Mapping[str, Any], part: Path, videos: Path) -> RecordingFrames:
    """Puts a part into a store under the names of a recording.

    Args:
        record: A row of the recordings table.
        part: Folder of the part.
        videos: The `videos` folder of the store under construction.

    Returns:
        What decoding this recording here and now would have given.

    Raises:
        OSError: The disk is full, or the part went away.
    """
    found = _read(part)
    if found is None:
        raise OSError(f"{part}: not a whole part")
    site, video = record["site"], record["video"]
    result = RecordingFrames(
        rejections=[Rejection(site, STAGE, video, reason) for reason in found["reasons"]]
    )
    if not found["frames"]:
        return result
    masks, truths = mask_files(record["masks"])[0], mask_files(record["truths"])[0]
    carried = {name: record[name] for name in CARRIED}
    for frame in found["frames"]:
        mask = masks.get(frame["frame"]) if frame["labelled"] else None
        truth = truths.get(frame["frame"])
        paths = {
            "mask_path": str(mask) if mask is not None else None,
            "truth_path": str(truth) if truth is not None else None,
        }
        place = {name: frame[name] for name in ("frame", "height", "width", "crop_top", "crop_left")}
        rest = {name: value for name, value in frame.items() if name not in place}
        result.rows.append({**carried, **place, **paths, **rest})
    result.tally = {"site": site, "video": video, **found["tally"]}
    folder = videos / video
    folder.mkdir(parents=True)
    for name in found["bytes"]:
        link_or_copy(part / name, folder / name)
    return result


def link_or_copy(origin: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system knows no second names.

    Args:
        origin: The file.
        target: The new name; must not exist.
    """
    try:
        os.link(origin, target)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, FileExistsError)):
            raise
        copy_sparsely(origin, target)


def copy_sparsely(origin: Path, target: Path) -> None:
    """Copies a file and leaves holes where it is zero: masks of unlabelled frames take no room.

    Args:
        origin: The file.
        target: The copy.
    """
    with open(origin, "rb") as source, open(target, "wb") as copy:
        while block := source.read(HOLE_BYTES):
            if block.count(0) == len(block):
                copy.seek(len(block), os.SEEK_CUR)
            else:
                copy.write(block)
        copy.truncate()
        flush_descriptor(copy)


def flush(path: Path) -> None:
    """Waits until a file or folder is on the disk and not only in memory.

    Args:
        path: Which.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_descriptor(stream: Any) -> None:
    """As `flush`, for a file that is open for writing.

    Args:
        stream: The file.
    """
    stream.flush()
    os.fsync(stream.fileno())
