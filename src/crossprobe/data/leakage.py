"""Audits a split before training: no patient, video or near-identical frame may cross parts."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping

import cv2
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.frame_store import FrameStore
from crossprobe.data.split import Split
from crossprobe.errors import LeakageFound
from crossprobe.progress import track

SHOWN = 5
CHUNK = 1024
SIDE = 64
SIGNATURE_BYTES = 4 * SIDE * SIDE
SIGMA = 1.5
# Measured on frames of two patients: at most .22 on both scanners of BUS-BRA (1,224 images), .24 on real lung
# clips, .31 on the phantom. On copies saved as JPEG 40, scaled to 60 %, brightened, gamma-corrected or noisy:
# .53 or more for 19 in 20 (less for mostly black frames); on one clip published under two patients: .56.
# A copy cropped by 2 % on all sides may pass.
SMALLEST_CORRELATION = 0.45
# Frames stored smaller than SIDE have lost what tells two patients apart: up to .50 on the phantom at 32 px.
COARSE_CORRELATION = 0.8
DARKEST_TISSUE = 8
LEAST_CONTENT = 0.5


class LeakSettings(BaseModel):
    """What counts as a near-duplicate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames_per_video: int = Field(10, ge=1, description="Evenly spread frames of a video that are compared.")
    smallest_correlation: float = Field(
        SMALLEST_CORRELATION,
        gt=0,
        le=1,
        description="Frames of two patients this much alike are one; at least .8 for stores under 64 px.",
    )


class LeakAudit(BaseModel):
    """What a clean audit looked at, for the report."""

    model_config = ConfigDict(frozen=True)

    site: str
    split_hash: str
    patients: dict[str, int] = Field(description="By part.")
    videos: dict[str, int] = Field(description="By part.")
    compared_frames: int
    largest_correlation: float = Field(description="Of the two most alike frames in different parts.")


def audit_split(store: FrameStore, split: Split, settings: LeakSettings) -> LeakAudit:
    """Checks that parts share no patient, no video, no identical and no near-identical frame.

    Frames are compared between parts only: within one patient, neighbouring frames are alike and stay
    together. Identical frames are found among all frames by their hash, near-identical ones among evenly
    spread frames by the correlation of their signatures.

    Args:
        store: The site's frames; labels are not needed.
        split: Its split.
        settings: What counts as the same.

    Returns:
        What was compared.

    Raises:
        LeakageFound: Names the parts, the ids and how many.
    """
    manifest = store.manifest
    part_of = {patient: part for part, patients in split.parts.items() for patient in patients}
    missing = sorted(set(manifest["patient"]) - set(part_of) - set(split.outside))
    if missing:
        raise LeakageFound(
            f"split of site {split.site!r}: {len(missing)} patients of the frame store are in no part "
            f"({_some(missing)}); split again"
        )
    parts = manifest["patient"].map(part_of).to_numpy(dtype=object)
    _refuse_shared(split, manifest["video"], parts, "videos", manifest["video"])
    if "content" in manifest.columns:
        _refuse_shared(
            split, manifest["content"].str.partition("-")[0], parts, "identical frames", _names(manifest)
        )
    rows = spread_rows(manifest, settings.frames_per_video)
    # Nothing reads the frames of patients outside, so they may be like any other.
    rows = rows[pd.notna(parts[rows])]
    smallest = smallest_correlation(store, settings)
    largest = _refuse_alike(store, split, rows, parts[rows], smallest)
    by_part = manifest.assign(part=parts).groupby("part")
    return LeakAudit(
        site=split.site,
        split_hash=split.hash,
        patients={part: len(patients) for part, patients in split.parts.items()},
        videos={str(part): int(count) for part, count in by_part["video"].nunique().items()},
        compared_frames=len(rows),
        largest_correlation=largest,
    )


def smallest_correlation(store: FrameStore, settings: LeakSettings) -> float:
    """Gives the correlation from which on two frames of a store count as one.

    Args:
        store: The site's frames; coarse ones are more alike.
        settings: What counts as the same.

    Returns:
        In (0, 1].
    """
    smallest = settings.smallest_correlation
    return max(smallest, COARSE_CORRELATION) if store.size < SIDE else smallest


def audit_sites(patients: Mapping[str, Collection[str]]) -> None:
    """Checks that no patient was scanned at two sites. Compares pseudonyms and sees no pixel.

    Args:
        patients: Pseudonyms by site, made with one salt.

    Raises:
        LeakageFound: Names the sites, the ids and how many.
    """
    for (one, first), (other, second) in itertools.combinations(patients.items(), 2):
        shared = sorted(set(first) & set(second))
        if shared:
            raise LeakageFound(
                f"sites {one!r} and {other!r} share {len(shared)} patients ({_some(shared)}); "
                "take them out of one site, or give each site its patient_prefix where both number their "
                "patients from 1"
            )


def frame_signature(image: np.ndarray) -> np.ndarray:
    """Describes what is particular about a frame, so that the dot product of two says how alike they are.

    All scans of one probe share the outline of the fan and the fall of brightness with depth. So local mean
    and contrast are divided out, within the tissue only, which is also what a copy with another brightness
    keeps.

    Args:
        image: Shape [H, W], uint8, without padding.

    Returns:
        Shape [4096], float32, of length 1; shorter for a frame that is mostly black, so that it is like
        nothing.
    """
    normal, tissue = local_detail(image, SIDE, SIDE)
    normal -= tissue * (normal.sum() / max(float(tissue.sum()), 1.0))
    length = max(float(np.linalg.norm(normal)), LEAST_CONTENT * SIDE)
    return np.asarray(normal / length, dtype=np.float32).ravel()


def local_detail(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides local mean and contrast out of a frame, within the tissue.

    Args:
        image: Shape [H, W], uint8, without padding.
        height: Rows of the result, px.
        width: Columns of the result, px.

    Returns:
        Detail and tissue, each [height, width], float32: detail in -2 to 2 and 0 outside the tissue, tissue 1
        or 0.
    """
    levels = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    bright = (levels >= DARKEST_TISSUE).astype(np.uint8)
    # One block in from the outline, whose step from black to grey would outweigh all else.
    tissue = cv2.erode(bright, np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)
    detail = (levels - _blurred(levels, tissue, SIGMA)) * tissue
    contrast = np.sqrt(np.maximum(_blurred(detail**2, tissue, 2 * SIGMA), 0))
    return np.clip(detail / (contrast + 2), -2, 2) * tissue, tissue


def _blurred(values: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """Averages over the neighbours that count."""
    total = cv2.GaussianBlur(weights, (0, 0), sigma) + 1e-3
    return np.asarray(cv2.GaussianBlur(values * weights, (0, 0), sigma) / total)


def _refuse_shared(split: Split, keys: pd.Series, parts: np.ndarray, what: str, names: pd.Series) -> None:
    table = pd.DataFrame({"key": keys.to_numpy(), "part": parts, "name": names.to_numpy()})
    counts = table.groupby("key")["part"].nunique()
    shared = table[table["key"].isin(counts[counts > 1].index)].dropna(subset=["part"])
    if len(shared):
        found = sorted(set(shared["part"]))
        raise LeakageFound(
            f"split of site {split.site!r}: parts {found} share {shared['key'].nunique()} {what} "
            f"({_some(sorted(set(shared['name'])))}); "
            "they are one recording under two names: keep one of them"
        )


def _names(manifest: pd.DataFrame) -> pd.Series:
    return manifest["patient"] + "/" + manifest["video"] + "/" + manifest["frame"].astype(str)


def spread_rows(manifest: pd.DataFrame, frames_per_video: int) -> np.ndarray:
    """Picks evenly spread frames of every video.

    Args:
        manifest: A table that fits `ManifestSchema`.
        frames_per_video: At most so many of each.

    Returns:
        Row numbers, int64.
    """
    rows: list[int] = []
    for positions in manifest.groupby("video", sort=True).indices.values():
        places = np.linspace(0, len(positions) - 1, min(frames_per_video, len(positions)))
        rows.extend(int(positions[place]) for place in np.unique(places.round().astype(int)))
    return np.array(rows, dtype=np.int64)


@contextlib.contextmanager
def signature_blocks(store: FrameStore, rows: np.ndarray) -> Iterator[Callable[[int], np.ndarray]]:
    """Describes frames by `frame_signature`, and gives the descriptions back a block at a time.

    They lie in a file without a name, since those of a large cohort do not fit memory: 16 KB a frame.

    Args:
        store: The site's frames.
        rows: Row numbers, int64.

    Yields:
        A function from a place in `rows` to the block that begins there: float32 [n, 4096], n up to CHUNK.
    """
    sizes = store.manifest[["height", "width"]].to_numpy()
    with tempfile.TemporaryFile() as file:
        for row in track(rows, "comparing frames", total=len(rows)):
            height, width = np.maximum(1, (sizes[row] * store.size / sizes[row].max()).round().astype(int))
            signature = frame_signature(store.images(np.array([row]))[0][:height, :width])
            file.write(signature.tobytes())

        def block(start: int) -> np.ndarray:
            file.seek(start * SIGNATURE_BYTES)
            content = file.read(CHUNK * SIGNATURE_BYTES)
            return np.frombuffer(content, np.float32).reshape(-1, SIDE * SIDE)

        yield block


def _refuse_alike(
    store: FrameStore, split: Split, rows: np.ndarray, parts: np.ndarray, smallest_correlation: float
) -> float:
    """Compares frames of different parts, block by block; gives the largest correlation."""
    largest, starts = 0.0, range(0, len(rows), CHUNK)
    with signature_blocks(store, rows) as block:
        for start in starts:
            piece, pairs = block(start), []
            own = parts[start : start + CHUNK, None]
            for other in starts:
                alike = piece @ block(other).T
                alike[own == parts[None, other : other + CHUNK]] = 0.0
                largest = max(largest, float(alike.max(initial=0.0)))
                pairs.append(np.argwhere(alike >= smallest_correlation) + np.array([start, other]))
            found = np.concatenate(pairs)
            if len(found):
                names = _names(store.manifest.iloc[rows])
                shown = [f"{names.iloc[one]} = {names.iloc[other]}" for one, other in found[:SHOWN]]
                raise LeakageFound(
                    f"split of site {split.site!r}: parts {sorted(set(parts[found.ravel()]))} share "
                    f"{len(found)} pairs of near-identical frames ({_some(shown, len(found))}); they are one "
                    "recording under two patients: keep one of them"
                )
    return largest


def _some(items: list[str], count: int | None = None) -> str:
    more = (count or len(items)) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")
