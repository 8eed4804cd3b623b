"""From files to masks, or classes, on disk: file by file, a few frames in memory, nothing half-written.

Each file's results are made in a hidden folder and renamed when they are whole. A file that cannot be used is
a row with its reason, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import cv2
import numpy as np
import pandas as pd

from crossprobe.data import dicom
from crossprobe.data.media_limits import check_limits
from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.video import read_frames
from crossprobe.errors import CrossprobeError, UnreadableMedia
from crossprobe.prediction.class_reader import ClassReader
from crossprobe.prediction.class_table import ClassTable, class_columns
from crossprobe.prediction.clip_outputs import FRAME_COLUMNS, OverlaySink, PngSink, Sink, TableSink
from crossprobe.prediction.inputs import InputFile, find_inputs
from crossprobe.prediction.judged import Reader
from crossprobe.prediction.output_folder import only_writer, partial_path, put_in_place
from crossprobe.prediction.settings import PredictionSettings
from crossprobe.prediction.volumes import VolumeSink, require_formats
from crossprobe.progress import track

log = logging.getLogger(__name__)

PREDICTED, REJECTED, SKIPPED = "predicted", "rejected", "skipped"
Output = TypeVar("Output", Sink, ClassTable)
SLOWEST_RATE, FASTEST_RATE, USUAL_RATE = 1.0, 240.0, 20.0


@dataclass
class FileResult:
    """What became of one file.

    Attributes:
        file: Name, as the user knows it.
        output: Folder of its results, a pseudonym; empty where there are none.
        status: `predicted`, `rejected` or `skipped`.
        reason: Why it was not predicted, or what was left out of it.
        kind: `video`, `image`, `dicom`, or empty.
        frames: Frames predicted.
        to_read: Frames that a person should read.
        spacing_mm: Side of a pixel, where known.
        seconds: Time taken.
        answer: What a classifier says of the whole file, by column of its own; nothing for a segmenter.
    """

    file: str
    output: str = ""
    status: str = REJECTED
    reason: str = ""
    kind: str = ""
    frames: int = 0
    to_read: int = 0
    spacing_mm: float | None = None
    seconds: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Gives the row of `files.csv`."""
        return {name: value for name, value in asdict(self).items() if name != "answer"} | self.answer


def predict_files(
    reader: Reader | ClassReader,
    paths: Sequence[Path],
    folder: Path,
    settings: PredictionSettings,
    salt: str,
) -> pd.DataFrame:
    """Predicts files and folders of files.

    A classifier writes tables alone: class probabilities of every frame, and of every file their mean.

    Args:
        reader: The model.
        paths: Images, videos, DICOM files, and folders of them.
        folder: Where results go, made if missing: a folder a file, named by a pseudonym of the file's name;
            `frames.csv` (one row a frame) and `files.csv` (one row a file, the only place, with `frames.csv`,
            where names of files stand), or `.parquet`.
        settings: What to write, and limits.
        salt: Secret of the pseudonyms.

    Returns:
        The table of files, as in `files.csv`.

    Raises:
        CrossprobeError: A library is missing for a wanted format, the model gives no masks for it, there is
            nothing to predict, results would lie among the files, or another process writes to the folder.
    """
    _require_masks(reader, settings)
    require_formats(settings.outputs.nifti, settings.outputs.dicom_seg)
    inputs = find_inputs(paths, folder)
    if not inputs:
        raise CrossprobeError(f"nothing to predict in {', '.join(str(path) for path in paths) or 'no path'}")
    with only_writer(folder):
        return _predict_all(reader, inputs, folder, settings, salt)


def _predict_all(
    reader: Reader | ClassReader,
    inputs: list[InputFile],
    folder: Path,
    settings: PredictionSettings,
    salt: str,
) -> pd.DataFrame:
    results = []
    frames = partial_path(folder, "rows")
    try:
        with open(frames, "w", newline="", encoding="utf-8") as table:
            csv.writer(table, lineterminator="\n").writerow(_columns(reader))
            for item in track(inputs, "predicting", total=len(inputs)):
                results.append(_predict(reader, item, folder, settings, salt))
                if results[-1].status == PREDICTED:
                    _append(folder / results[-1].output / "frames.csv", table)
        files = pd.DataFrame([result.row() for result in results])
        _write_tables(frames, files, folder, settings.outputs.table, _columns(reader))
    finally:
        frames.unlink(missing_ok=True)
    return files


def _columns(reader: Reader | ClassReader) -> tuple[str, ...]:
    return class_columns(reader.classes) if isinstance(reader, ClassReader) else FRAME_COLUMNS


def _require_masks(reader: Reader | ClassReader, settings: PredictionSettings) -> None:
    if isinstance(reader, ClassReader) and (settings.outputs.nifti or settings.outputs.dicom_seg):
        raise CrossprobeError(
            f"{reader.package.index.arm} is a classifier and gives no masks; leave nifti and dicom_seg off"
        )


def _predict(
    reader: Reader | ClassReader, item: InputFile, folder: Path, settings: PredictionSettings, salt: str
) -> FileResult:
    result = FileResult(item.name)
    start = time.perf_counter()
    if item.refused:
        skipped = item.refused.startswith(f"{SKIPPED}: ")
        result.status = SKIPPED if skipped else REJECTED
        result.reason = item.refused.removeprefix(f"{SKIPPED}: ")
        return result
    output = pseudonym("video", item.name, salt)
    partial = partial_path(folder, output)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write_clip(reader, item, partial, output, settings, result)
        put_in_place(partial, folder / output)
        result.output, result.status = output, PREDICTED
    except Exception as error:
        # Whatever a decoder throws at one file must not cost the others; its text may quote a patient's tags.
        log.debug("%s", output, exc_info=not isinstance(error, CrossprobeError))
        result.reason = _reason(error, item)
        result.frames = result.to_read = 0
        result.answer = {}
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    result.seconds = round(time.perf_counter() - start, 3)
    return result


def _write_clip(
    reader: Reader | ClassReader,
    item: InputFile,
    folder: Path,
    output: str,
    settings: PredictionSettings,
    result: FileResult,
) -> None:
    result.kind = check_limits(item.path, settings.limits)
    result.spacing_mm = settings.spacing_mm
    if result.kind == "dicom":
        result.spacing_mm = dicom.spacing_mm(item.path) or settings.spacing_mm
    left_out: dict[str, int] = {}

    def reject(number: int, reason: str) -> None:
        left_out[reason] = left_out.get(reason, 0) + 1

    frames = _limited(item.path, settings.limits.frames)
    table: TableSink | ClassTable
    if isinstance(reader, ClassReader):
        table = ClassTable(folder / "frames.csv", item.name, output, reader)
        with _finished([table]):
            for classified in track(reader.read(frames, settings.batch_size, reject), item.name):
                table.add(classified)
        result.answer = table.clip()
    else:
        table = TableSink(folder / "frames.csv", item.name, output, result.spacing_mm)
        with _finished([table, *_sinks(item, folder, output, settings, result)]) as sinks:
            for judged in track(reader.read(frames, settings.batch_size, reject), item.name):
                for sink in sinks:
                    sink.add(judged)
    if not table.frames:
        raise UnreadableMedia("no frame that can be used")
    result.frames, result.to_read = table.frames, table.to_read
    result.reason = "; ".join(f"{count} x {reason}" for reason, count in left_out.items())


def _sinks(
    item: InputFile, folder: Path, output: str, settings: PredictionSettings, result: FileResult
) -> Iterator[Sink]:
    wanted = settings.outputs
    if wanted.masks:
        yield PngSink(folder / "masks", "mask")
    if wanted.confidence:
        yield PngSink(folder / "confidence", "confidence")
    if wanted.overlay:
        yield OverlaySink(
            folder, None if result.kind == "image" else _frames_per_second(item.path, result.kind)
        )
    if wanted.nifti or wanted.dicom_seg:
        yield VolumeSink(folder, output, result.spacing_mm, wanted.nifti, wanted.dicom_seg)


@contextlib.contextmanager
def _finished(sinks: list[Output]) -> Iterator[list[Output]]:
    """Closes all files; after an error, lets go of them instead."""
    try:
        yield sinks
        for sink in sinks:
            sink.close()
    except BaseException:
        for sink in sinks:
            sink.abandon()
        raise


def _limited(path: Path, most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Reads frames, and stops a file that holds more than its header said."""
    for number, frame in read_frames(path):
        if number >= most:
            raise UnreadableMedia(
                f"more than the {most} frames that are taken; cut it, or raise limits.frames"
            )
        yield number, frame


def _frames_per_second(path: Path, kind: str) -> float:
    if kind != "video":
        return USUAL_RATE
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return rate if SLOWEST_RATE <= rate <= FASTEST_RATE else USUAL_RATE


def _append(source: Path, table: TextIO) -> None:
    """Adds the rows of one clip to the table of all, without its head."""
    with open(source, newline="", encoding="utf-8") as rows:
        rows.readline()
        shutil.copyfileobj(rows, table)


def _reason(error: BaseException, item: InputFile) -> str:
    """Says what was wrong without the path, which may hold a patient's name."""
    if isinstance(error, CrossprobeError):
        return str(error).removeprefix(str(item.path)).removeprefix(": ")
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read or written ({error.strerror})"
    return f"cannot be decoded ({type(error).__name__})"


def _write_tables(frames: Path, files: pd.DataFrame, folder: Path, kind: str, columns: Sequence[str]) -> None:
    writers: dict[str, Callable[[Path], object]] = {
        "frames.csv": lambda path: shutil.copyfile(frames, path),
        "files.csv": lambda path: files.to_csv(path, index=False),
        "frames.parquet": lambda path: _to_parquet(frames, path, columns),
        "files.parquet": lambda path: files.to_parquet(path, index=False),
    }
    for name in (f"frames.{kind}", f"files.{kind}"):
        partial = partial_path(folder, name)
        try:
            writers[name](partial)
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)


def _to_parquet(source: Path, path: Path, columns: Sequence[str]) -> None:
    """Converts the table of frames piece by piece."""
    import pyarrow as pa
    from pyarrow import csv as csv_file
    from pyarrow import parquet

    numbers = {"frame": pa.int64(), "height": pa.int64(), "width": pa.int64(), "area_px": pa.int64()}
    texts = {name: pa.string() for name in ("file", "output", "class", "read")}
    # Spacing, area, confidence and probabilities.
    types = {name: (numbers | texts).get(name, pa.float64()) for name in columns}
    convert = csv_file.ConvertOptions(column_types=types, strings_can_be_null=False)
    parse = csv_file.ParseOptions(newlines_in_values=True)
    with (
        csv_file.open_csv(source, convert_options=convert, parse_options=parse) as pieces,
        parquet.ParquetWriter(path, pa.schema(list(types.items()))) as writer,
    ):
        for piece in pieces:
            writer.write_batch(piece)
