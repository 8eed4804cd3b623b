"""Pixels of a manifest as arrays on disk, opened lazily; who may not see labels cannot."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from crossprobe.data.manifest import ManifestSchema, RejectionSchema, checked
from crossprobe.data.mask_files import mask_hash, read_pieces
from crossprobe.errors import LabelsNotAllowed, StoreError

FORMAT = "crossprobe-frames-1"
OPEN_VIDEOS = 64
STATISTICS_ROWS = 256
HIDDEN_CLASS = "unknown"
HIDDEN_PATH = "hidden"


class FrameStore:
    """A folder of frames, in the row order of its manifest.

    Attributes:
        path: The folder.
        size: Side of the square frames, px.
        fingerprint: Hash of the recordings, settings and code it was built from.
        labels: Whether this reader may see labels. Without, the manifest has no `mask_path` and no
            `truth_path`, every `class` is `unknown` and every `path` is `hidden`.
        manifest: A table that fits `ManifestSchema`; row i is frame i of `images`.
    """

    def __init__(self, path: Path, size: int, fingerprint: str, labels: bool, manifest: pd.DataFrame):
        self.path = path
        self.size = size
        self.fingerprint = fingerprint
        self.labels = labels
        self.manifest = manifest
        self._videos = manifest["video"].to_numpy(dtype=object)
        self._labelled = manifest["labelled"].to_numpy(dtype=bool)
        self._positions = manifest.groupby("video", sort=False).cumcount().to_numpy()
        self._arrays: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    @classmethod
    def open(cls, path: Path, labels: bool) -> FrameStore:
        """Opens a finished store; no pixel is read yet.

        Args:
            path: The folder that `build_frame_store` gave.
            labels: Whether masks and classes may be read. Training code on the target opens with False.

        Raises:
            StoreError: The folder has no valid `store.json` (a build that did not end), or is of another
                format.
        """
        path = Path(path)
        description = read_description(path)
        manifest = _read_manifest(path / "manifest.parquet")
        if len(manifest) != description["rows"]:
            raise StoreError(
                f"{path}: manifest has {len(manifest)} rows, store.json says {description['rows']}; "
                "delete the folder and build it again"
            )
        if not labels:
            # A class is a label too, and in sets with a folder a class the path tells it.
            manifest = manifest.drop(columns=["mask_path", "truth_path"])
            manifest = manifest.assign(**{"class": HIDDEN_CLASS, "path": HIDDEN_PATH})
        return cls(path, description["size"], description["fingerprint"], labels, manifest)

    def __len__(self) -> int:
        """Counts the frames."""
        return len(self.manifest)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Reads frames.

        Args:
            rows: Row numbers in any order, repeats allowed.

        Returns:
            Shape [n, S, S], uint8.

        Raises:
            IndexError: A row the store does not have.
        """
        return self._gather(rows, "images")

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Reads the masks of labelled frames.

        Args:
            rows: Row numbers in any order, repeats allowed.

        Returns:
            Shape [n, S, S], uint8 of 0 and 1.

        Raises:
            LabelsNotAllowed: The store was opened without labels.
            StoreError: A row without a label: its zeros would pass for an empty mask.
        """
        self._need_labels()
        rows = self._checked(rows)
        if not self._labelled[rows].all():
            row = int(rows[~self._labelled[rows]][0])
            where = self.manifest.iloc[row]
            raise StoreError(
                f"{self.path}: row {row} (video {where['video']}, frame {where['frame']}) has no label; "
                "ask rows(..., labelled=True)"
            )
        return self._gather(rows, "masks")

    def native_mask(self, row: int) -> np.ndarray:
        """Reads an annotator's mask in native pixels, cropped like the frame.

        Args:
            row: A labelled row.

        Returns:
            Shape [height, width], uint8 of 0 and 1.

        Raises:
            LabelsNotAllowed: The store was opened without labels.
            StoreError: The row has no mask, or its file was changed since the store was built.
            UnreadableMedia: The file is gone or broken.
        """
        return self._native(row, "mask_path")

    def native_truth(self, row: int) -> np.ndarray:
        """Reads the known answer in native pixels, cropped like the frame; else as `native_mask`."""
        return self._native(row, "truth_path")

    def statistics(self, rows: np.ndarray) -> tuple[float, float]:
        """Measures mean and standard deviation of pixels scaled to [0, 1].

        Args:
            rows: Row numbers; normally those of the training part.

        Returns:
            Mean and (population) standard deviation.

        Raises:
            StoreError: No rows.
        """
        rows = self._checked(rows)
        if not len(rows):
            raise StoreError(f"{self.path}: no rows to take statistics of")
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(rows), STATISTICS_ROWS):
            pixels = self._gather(rows[start : start + STATISTICS_ROWS], "images")
            counts += np.bincount(pixels.ravel(), minlength=256)
        levels = np.arange(256) / 255
        mean = float((counts * levels).sum() / counts.sum())
        return mean, float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))

    def rows(self, patients: Sequence[str], labelled: bool | None = None) -> np.ndarray:
        """Finds the rows of some patients.

        Args:
            patients: Pseudonyms.
            labelled: Only rows with (True) or without (False) a label.

        Returns:
            Row numbers, ascending, int64.

        Raises:
            StoreError: A patient the store does not hold.
        """
        unknown = sorted(set(patients) - set(self.manifest["patient"]))
        if unknown:
            raise StoreError(f"{self.path}: holds no frame of patients {unknown[:5]} ({len(unknown)} in all)")
        wanted = self.manifest["patient"].isin(list(patients)).to_numpy()
        if labelled is not None:
            wanted = wanted & (self._labelled == labelled)
        return np.flatnonzero(wanted).astype(np.int64)

    def rejections(self) -> pd.DataFrame:
        """Reads what was dropped when the store was built."""
        return read_rejections(self.path)

    def recordings(self) -> pd.DataFrame:
        """Reads the tally of the build, a row a video: frames read, kept, blank, frozen, the crop."""
        return pd.read_parquet(self.path / "recordings.parquet")

    def _need_labels(self) -> None:
        if not self.labels:
            raise LabelsNotAllowed(f"{self.path}: opened with labels=False; this stage may not see masks")

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(
                f"{self.path}: rows must lie in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}"
            )
        return rows

    def _gather(self, rows: np.ndarray, name: str) -> np.ndarray:
        rows = self._checked(rows)
        result = np.empty((len(rows), self.size, self.size), dtype=np.uint8)
        videos = self._videos[rows]
        order = np.argsort(videos, kind="stable")
        edges = np.flatnonzero(videos[order][1:] != videos[order][:-1]) + 1
        for group in np.split(order, edges) if len(rows) else []:
            array = self._array(videos[group[0]], name)
            result[group] = array[self._positions[rows[group]]]
        return result

    def _array(self, video: str, name: str) -> np.ndarray:
        """Maps a video's array, keeping the last used ones open: far fewer than a process may open files."""
        key = (video, name)
        if key in self._arrays:
            self._arrays.move_to_end(key)
            return self._arrays[key]
        file = self.path / "videos" / video / f"{name}.npy"
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{file}: cannot be read ({error}); delete the store and build it again"
            ) from error
        self._arrays[key] = array
        if len(self._arrays) > OPEN_VIDEOS:
            self._arrays.popitem(last=False)
        return array

    def _native(self, row: int, column: str) -> np.ndarray:
        self._need_labels()
        self._checked(np.array([row]))
        frame = self.manifest.iloc[row]
        file = frame[column]
        if pd.isna(file):
            raise StoreError(
                f"{self.path}: row {row} (video {frame['video']}, frame {frame['frame']}) has no {column}"
            )
        mask = read_pieces(Path(file))
        top, left, height, width = (int(frame[name]) for name in ("crop_top", "crop_left", "height", "width"))
        cropped = mask[top : top + height, left : left + width]
        if cropped.shape != (height, width):
            raise StoreError(
                f"{file}: {mask.shape} px does not hold the crop of row {row}; was the file changed?"
            )
        recorded = str(frame.get("content", "")).partition("-")[2]
        # `content` stands for the mask and not for the known answer.
        if column == "mask_path" and recorded and mask_hash(cropped) != recorded:
            raise StoreError(
                f"{file}: changed since the frames stage, so scores would mix two versions; run it again"
            )
        return np.ascontiguousarray(cropped)

    def __getstate__(self) -> dict[str, object]:
        """Leaves open files behind when the store goes to another process."""
        return {**self.__dict__, "_arrays": OrderedDict()}


def _read_manifest(file: Path) -> pd.DataFrame:
    """Reads a store's manifest, validated once a process: every stage opens the same one."""
    seen = file.stat()
    return _validated_manifest(file, seen.st_mtime_ns, seen.st_size).copy()


@lru_cache(maxsize=8)
def _validated_manifest(file: Path, modified_ns: int, size: int) -> pd.DataFrame:
    return checked(pd.read_parquet(file), ManifestSchema, str(file))


def read_description(path: Path) -> dict:
    """Reads and checks `store.json`, which is written last.

    Args:
        path: The store's folder.

    Returns:
        Format, size, fingerprint and row count.

    Raises:
        StoreError: Missing, unreadable or of another format.
    """
    file = path / "store.json"
    if not file.is_file():
        raise StoreError(f"{path}: no store.json, so no finished frame store; run the frames stage again")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            f"{file}: not JSON ({error}); delete the folder and run the frames stage again"
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise StoreError(
            f"{file}: not of format {FORMAT!r}; delete the folder and run the frames stage again"
        )
    return description


def read_rejections(path: Path) -> pd.DataFrame:
    """Reads the rejections stored beside the frames.

    Args:
        path: The store's folder.

    Returns:
        A table that fits `RejectionSchema`.
    """
    return RejectionSchema.validate(pd.read_parquet(path / "rejections.parquet"))
