"""Groups near-identical images of sets that name no patient, so that copies never stand in two parts.

Three looks, from cheap to sure: equal pixels; a perceptual hash of each image, its mirror image and crops of
both (imagehash; Zauner, thesis, Upper Austria University of Applied Sciences 2010), or a correlation of fine
detail, to find candidates; and the correlation of the aligned images to confirm them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.aligned_correlation import THUMBNAIL_PX, aligned_correlation
from crossprobe.data.image_groups import join_groups
from crossprobe.data.leakage import frame_signature
from crossprobe.data.media_limits import MediaLimits
from crossprobe.progress import track

CHUNK = 512
# Shares cut off at left, top, right and bottom.
CROPS = (
    (0.0, 0.0, 0.0, 0.0),
    (0.025, 0.025, 0.025, 0.025),
    (0.05, 0.05, 0.05, 0.05),
    (0.05, 0.0, 0.0, 0.0),
    (0.0, 0.05, 0.0, 0.0),
    (0.0, 0.0, 0.05, 0.0),
    (0.0, 0.0, 0.0, 0.05),
)


class DuplicateSettings(BaseModel):
    """What makes two images of a set without patients one.

    Measured on BUSI (780 images): aligned, 400 random pairs correlate by .16 at most; copies that were
    mirrored, cropped by up to 5 % a side, brightened or saved as JPEG 70 by .54 or more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    find: bool = Field(True, description="Off: every image without a patient is one of its own")
    hash_distance: int = Field(
        10, ge=0, le=64, description="Images whose 64-bit hashes differ in so many bits are candidates"
    )
    detail_correlation: float = Field(
        0.25, gt=0, le=1, description="So are images whose fine detail correlates by as much"
    )
    smallest_correlation: float = Field(
        0.3, gt=0, le=1, description="Candidates whose aligned detail correlates by as much are one"
    )
    limits: MediaLimits = Field(MediaLimits(), description="Larger images are not looked at but rejected")
    conflicting: bool = Field(False, description="Keep groups whose images carry different classes")


@dataclass(frozen=True)
class ImageTraits:
    """What is kept of an image to compare it: no more than 33 KiB, whatever its size.

    Attributes:
        content: Hash of its pixels.
        hashes: [2 * crops], uint64: perceptual hashes, upright first, then mirrored.
        signature: [4096], float32: fine detail, of length 1.
        thumbnail: [128, 128], uint8.
    """

    content: str
    hashes: np.ndarray
    signature: np.ndarray
    thumbnail: np.ndarray


def image_traits(image: np.ndarray) -> ImageTraits:
    """Measures an image for `group_duplicates`.

    Args:
        image: Shape [H, W], uint8.

    Returns:
        Its traits.
    """
    mirrored = np.ascontiguousarray(image[:, ::-1])
    hashes = [_perceptual_hash(_cropped(side, crop)) for side in (image, mirrored) for crop in CROPS]
    shape = np.array(image.shape, dtype=np.int64).tobytes()
    return ImageTraits(
        content=hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).hexdigest(),
        hashes=np.array(hashes, dtype=np.uint64),
        signature=frame_signature(image),
        thumbnail=cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA),
    )


def duplicate_pairs(traits: Sequence[ImageTraits], settings: DuplicateSettings) -> list[tuple[int, int]]:
    """Finds which images are one and the same.

    Args:
        traits: Of every image.
        settings: What counts as the same.

    Returns:
        Pairs of numbers of images that are alike; equal images are paired with the first of them.
    """
    if not settings.find or len(traits) < 2:
        return []
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(item.content, place) for place, item in enumerate(traits)]
    pairs = [(first, place) for place, first in enumerate(firsts) if first != place]
    for one, other in track(_candidates(traits, settings), "confirming copies"):
        if traits[one].content != traits[other].content:
            found = aligned_correlation(
                traits[one].thumbnail, traits[other].thumbnail, settings.smallest_correlation
            )
            if found >= settings.smallest_correlation:
                pairs.append((one, other))
    return pairs


def group_duplicates(traits: Sequence[ImageTraits], settings: DuplicateSettings) -> np.ndarray:
    """Groups images that are one and the same, where nothing is on record.

    Groups are closed: where a equals b and b equals c, all three are one group, though a and c may look less
    alike.

    Args:
        traits: Of every image.
        settings: What counts as the same.

    Returns:
        Group of each image, [n] int64: the number of the group's first image.
    """
    return join_groups(duplicate_pairs(traits, settings), [None] * len(traits)).groups


def conflicting_groups(groups: np.ndarray, labels: Iterable[str]) -> dict[int, list[str]]:
    """Finds groups whose images carry more than one label.

    Args:
        groups: From `group_duplicates`.
        labels: Of each image.

    Returns:
        Sorted labels by group, of the conflicting ones.
    """
    held: dict[int, set[str]] = {}
    for group, label in zip(groups.tolist(), labels, strict=True):
        held.setdefault(group, set()).add(label)
    return {group: sorted(found) for group, found in held.items() if len(found) > 1}


def _candidates(traits: Sequence[ImageTraits], settings: DuplicateSettings) -> list[tuple[int, int]]:
    """Lists pairs worth a closer look, comparing all of them a block of rows at a time."""
    hashes = np.stack([item.hashes for item in traits])
    signatures = np.stack([item.signature for item in traits])
    whole = hashes[:, 0]
    found: set[tuple[int, int]] = set()
    for start in range(0, len(traits), CHUNK):
        block = slice(start, start + CHUNK)
        near = signatures[block] @ signatures.T >= settings.detail_correlation
        for variant in hashes[block].T:
            near |= np.bitwise_count(variant[:, None] ^ whole[None, :]) <= settings.hash_distance
        # Not symmetric: a crop of this image may be that one, without a crop of that one being this.
        for one, other in np.argwhere(near).tolist():
            if start + one != other:
                found.add((min(start + one, other), max(start + one, other)))
    return sorted(found)


def _perceptual_hash(image: np.ndarray) -> int:
    bits = imagehash.phash(Image.fromarray(image), hash_size=8).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _cropped(image: np.ndarray, shares: tuple[float, float, float, float]) -> np.ndarray:
    height, width = image.shape
    left, top, right, bottom = (
        int(share * side) for share, side in zip(shares, (width, height, width, height), strict=True)
    )
    cropped = image[top : height - bottom, left : width - right]
    return np.ascontiguousarray(cropped) if cropped.size else image
