"""What all sources of labelled single images share: grouping without patients, small classes, the table."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from crossprobe.data.duplicates import (
    DuplicateSettings,
    ImageTraits,
    conflicting_groups,
    duplicate_pairs,
    image_traits,
)
from crossprobe.data.fingerprint import file_hash
from crossprobe.data.image_groups import ImageGroups, join_groups
from crossprobe.data.manifest import RecordingSchema, Rejection, checked, rejection_table
from crossprobe.data.media_limits import check_limits
from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.video import read_image
from crossprobe.errors import InvalidMetadata, UnreadableMedia
from crossprobe.progress import track

logger = logging.getLogger(__name__)
STAGE = "ingest"
SHOWN = 20
BRIDGING = (
    "resembles images of two groups that were told apart before; set aside, for patients never move between "
    "parts"
)


class LabelledImage(NamedTuple):
    """An image that a source found.

    Attributes:
        key: What tells it from all others of the set; never shown.
        item: How a rejection names it.
        path: The file.
        label: Its class.
        patient: Name of the patient; None where the set has none.
        device: Scanner.
        operator: Who scanned.
        masks: A mask, or several named with a `*`.
        group: Pseudonym of the group of near-identical images that stands for the patient.
    """

    key: str
    item: str
    path: Path
    label: str
    patient: str | None = None
    device: str = "unknown"
    operator: str = "unknown"
    masks: Path | None = None
    group: str | None = None


def image_recordings(
    images: Sequence[LabelledImage],
    rejections: Iterable[Rejection],
    site: str,
    salt: str,
    data_set: str,
    duplicates: DuplicateSettings,
    smallest_class: int,
    origin: str,
    groups: ImageGroups | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turns labelled images into recordings under pseudonyms.

    Images without a patient are grouped by near-identity, and a group stands for a patient. Groups, and equal
    files, that carry several classes are dropped. So are classes with too few patients or groups to be split.

    Args:
        images: What the source found.
        rejections: What it rejected.
        site: Name given to every row.
        salt: For the pseudonyms.
        data_set: Keeps pseudonyms of two sets apart.
        duplicates: How images without patients are grouped.
        smallest_class: Patients or groups that a class must have.
        origin: Folder or table, for messages.
        groups: What earlier readings knew of groups; new ones are added to it. None starts from nothing.

    Returns:
        Recordings (`RecordingSchema`) sorted by video, and rejections (`RejectionSchema`), of which many with
        one reason are counted in one row.

    Raises:
        InvalidMetadata: No image is left.
    """
    dropped = list(rejections)
    kept = list(images)
    if any(image.patient is None for image in kept):
        names = ImageGroups() if groups is None else groups
        kept = _grouped(kept, dropped, site, duplicates, names, f"{data_set}/group", salt)
    elif not duplicates.conflicting:
        kept = _without_conflicting_copies(kept, dropped, site)
    kept = _without_small_classes(kept, dropped, site, smallest_class)
    dropped = counted(dropped)
    if not kept:
        shown = "; ".join(f"{item.item}: {item.reason}" for item in dropped[:3])
        raise InvalidMetadata(f"{origin}: no usable image, so site {site!r} is empty ({shown})")
    rows = [_recording(image, site, salt, data_set) for image in kept]
    recordings = pd.DataFrame(rows).sort_values("video").reset_index(drop=True)
    return checked(recordings, RecordingSchema, origin), rejection_table(dropped)


def counted(rejections: Sequence[Rejection], most: int = SHOWN) -> list[Rejection]:
    """Keeps a table of rejections readable: a reason with more than so many items becomes one row.

    Args:
        rejections: All of them.
        most: Items of one reason that are listed one by one.

    Returns:
        Rows in the order in which their reasons first appear.
    """
    by_reason: dict[tuple[str, str, str], list[Rejection]] = {}
    for rejection in rejections:
        by_reason.setdefault((rejection.site, rejection.stage, rejection.reason), []).append(rejection)
    rows: list[Rejection] = []
    for (site, stage, reason), group in by_reason.items():
        if len(group) <= most:
            rows.extend(group)
        else:
            rows.append(Rejection(site, stage, f"{len(group):,} items (first: {group[0].item})", reason))
    return rows


def _grouped(
    images: list[LabelledImage],
    dropped: list[Rejection],
    site: str,
    settings: DuplicateSettings,
    names: ImageGroups,
    prefix: str,
    salt: str,
) -> list[LabelledImage]:
    """Reads every image, rejects those that cannot be read, and lets groups stand for patients."""
    readable, traits = _readable(images, dropped, site, settings)
    known = [names.known.get(item.content) if settings.find else None for item in traits]
    groups, bridging = join_groups(duplicate_pairs(traits, settings), known)
    for place in sorted(bridging):
        dropped.append(Rejection(site, STAGE, readable[place].item, BRIDGING))
    whole = [place for place in range(len(readable)) if place not in bridging]
    named = _named(readable, traits, groups, whole, names, prefix, salt)
    readable, groups = [readable[place] for place in whole], _renumbered(groups[whole])
    conflicts = conflicting_groups(groups, (image.label for image in readable))
    sizes = np.bincount(groups, minlength=len(groups)) if len(groups) else np.zeros(0, dtype=int)
    logger.info(
        "site %s: %d images, no patients; %d groups, %d of them of near-identical images (%d images, the "
        "largest of %d), %d groups with conflicting classes (%d images)",
        site, len(readable), int((sizes > 0).sum()), int((sizes > 1).sum()), int(sizes[sizes > 1].sum()),
        int(sizes.max(initial=0)), len(conflicts), int(sizes[list(conflicts)].sum()),
    )  # fmt: skip
    kept: list[LabelledImage] = []
    for image, group, name in zip(readable, groups.tolist(), named, strict=True):
        first = readable[group]
        if group in conflicts and not settings.conflicting:
            reason = f"near-identical images carry the classes {' and '.join(conflicts[group])}"
            dropped.append(Rejection(site, STAGE, f"{image.item} (group of {first.item})", reason))
            logger.info("site %s: %s is %s: %s", site, image.item, image.path.name, reason)
        else:
            kept.append(image._replace(group=name))
    return kept


def _readable(
    images: list[LabelledImage], dropped: list[Rejection], site: str, settings: DuplicateSettings
) -> tuple[list[LabelledImage], list[ImageTraits]]:
    readable: list[LabelledImage] = []
    traits: list[ImageTraits] = []
    for image in track(images, "looking for copies", total=len(images)):
        try:
            check_limits(image.path, settings.limits, undecided=True)
            traits.append(image_traits(read_image(image.path)))
        except UnreadableMedia as error:
            reason = str(error).removeprefix(f"{image.path}: ")
            dropped.append(Rejection(site, STAGE, image.item, reason))
            # The table is passed on and may hide the name; the log stays on this machine.
            logger.warning("site %s: %s is %s: %s", site, image.item, image.path.name, reason)
        else:
            readable.append(image)
    return readable, traits


def _named(
    images: Sequence[LabelledImage],
    traits: Sequence[ImageTraits],
    groups: np.ndarray,
    whole: Sequence[int],
    names: ImageGroups,
    prefix: str,
    salt: str,
) -> list[str]:
    """Names the group of each image that is not set aside, and adds what is new to the record.

    A group on record keeps its name. A new one is called after its first image, unless that name is taken by
    a group which once began with another image of the same name.
    """
    given = {int(groups[place]): names.known[traits[place].content] for place in whole
             if traits[place].content in names.known}  # fmt: skip
    taken = set(names.known.values())
    for first in sorted({int(groups[place]) for place in whole} - set(given)):
        name = pseudonym("patient", f"{prefix}/{images[first].key}", salt)
        if name in taken:
            name = pseudonym("patient", f"{prefix}/{images[first].key}/{traits[first].content}", salt)
        given[first] = name
    for place in whole:
        if traits[place].content not in names.known:
            names.fresh[traits[place].content] = given[int(groups[place])]
    return [given[int(groups[place])] for place in whole]


def _renumbered(groups: np.ndarray) -> np.ndarray:
    """Numbers groups by their first image again, after images were taken out."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def _without_conflicting_copies(
    images: list[LabelledImage], dropped: list[Rejection], site: str
) -> list[LabelledImage]:
    """Drops equal files under different classes; with patients known, near-identity is left to the audit."""
    contents = [file_hash(image.path) for image in track(images, "looking for copies", total=len(images))]
    labels: dict[str, set[str]] = {}
    for content, image in zip(contents, images, strict=True):
        labels.setdefault(content, set()).add(image.label)
    kept: list[LabelledImage] = []
    for content, image in zip(contents, images, strict=True):
        if len(labels[content]) > 1:
            reason = f"the same file carries the classes {' and '.join(sorted(labels[content]))}"
            dropped.append(Rejection(site, STAGE, image.item, reason))
        else:
            kept.append(image)
    return kept


def _without_small_classes(
    images: list[LabelledImage], dropped: list[Rejection], site: str, smallest: int
) -> list[LabelledImage]:
    patients: dict[str, set[str]] = {}
    for image in images:
        patients.setdefault(image.label, set()).add(image.group or str(image.patient))
    small = {label for label, names in patients.items() if len(names) < smallest}
    for label in sorted(small):
        count = sum(image.label == label for image in images)
        reason = (
            f"class dropped: {count} image{'s' * (count != 1)} of {len(patients[label])} patients or groups "
            f"of copies, fewer than the {smallest} of smallest_class: every part of a split needs one"
        )
        logger.warning("site %s: class %s: %s", site, label, reason)
        dropped.append(Rejection(site, STAGE, f"class {label}", reason))
    return [image for image in images if image.label not in small]


def _recording(image: LabelledImage, site: str, salt: str, data_set: str) -> dict[str, Any]:
    return {
        "site": site,
        "device": image.device,
        "operator": pseudonym("operator", image.operator, salt),
        "patient": image.group or pseudonym("patient", f"{data_set}/{image.patient}", salt),
        "view": "unknown",
        "video": pseudonym("video", f"{site}/{image.key}", salt),
        "path": str(image.path.resolve()),
        "spacing_mm": math.nan,
        "class": image.label,
        "masks": str(image.masks.parent.resolve() / image.masks.name) if image.masks else None,
        "truths": None,
    }
