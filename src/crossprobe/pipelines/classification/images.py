"""Which images of a site an arm may use, and which classes a study is about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import InvalidMetadata
from crossprobe.training.class_source import UNKNOWN

log = logging.getLogger(__name__)

BY_IMAGE = "image"


def part_rows(frames: FrameStore, split: dict[str, Any], part: str) -> np.ndarray:
    """Finds the rows of a part, of whatever class.

    Args:
        frames: The site's store.
        split: A split by patient, or one by image (`unit: image`).
        part: Name of the part.

    Returns:
        Row numbers, ascending.

    Raises:
        InvalidMetadata: The split has no such part.
    """
    if part not in split["parts"]:
        raise InvalidMetadata(
            f"site '{split['site']}' has no part '{part}', only {', '.join(split['parts'])}; "
            "name it in the site's split.fractions"
        )
    column = "video" if split.get("unit") == BY_IMAGE else "patient"
    return np.flatnonzero(frames.manifest[column].isin(split["parts"][part]).to_numpy())


def study_classes(
    frames: FrameStore, split: dict[str, Any], wanted: tuple[str, ...] | None, ignored: Sequence[str]
) -> tuple[str, ...]:
    """Settles the table of classes: the one given, or all that the labelled training part has.

    Args:
        frames: Store of the site whose labels are learned from.
        split: Its split.
        wanted: The table of classes, or None.
        ignored: Classes left out.

    Returns:
        At least two names.

    Raises:
        InvalidMetadata: The training part has fewer than two classes.
    """
    if wanted is not None:
        return wanted
    there = set(frames.manifest["class"].iloc[part_rows(frames, split, "train")]) - {UNKNOWN, *ignored}
    if len(there) < 2:
        raise InvalidMetadata(
            f"site '{split['site']}': its training part holds the classes {sorted(there)}, and two at least "
            "are needed; add images, or change the split's seed or fractions"
        )
    return tuple(sorted(there))


def labelled_rows(
    frames: FrameStore, split: dict[str, Any], part: str, classes: Sequence[str], ignored: Sequence[str]
) -> np.ndarray:
    """Finds the images of a part whose class is known and asked for.

    Args:
        frames: The site's store, opened with labels.
        split: Its split.
        part: Name of the part.
        classes: The table of classes.
        ignored: Classes left out; they are counted in the log.

    Returns:
        Row numbers, ascending.

    Raises:
        InvalidMetadata: Images of a class that is neither asked for nor ignored, or none at all.
    """
    rows = part_rows(frames, split, part)
    names = frames.manifest["class"].iloc[rows]
    counts = names.value_counts()
    left_out = {str(name): int(counts.get(name, 0)) for name in (UNKNOWN, *ignored) if counts.get(name, 0)}
    if left_out:
        log.info("%s, part %s: left out %s", split["site"], part, left_out)
    strange = sorted(set(names) - {*classes, *ignored, UNKNOWN})
    if strange:
        found = ", ".join(f"'{name}' ({counts[name]} images)" for name in strange)
        raise InvalidMetadata(
            f"site '{split['site']}', part '{part}' holds class {found}, which the classifier of "
            f"{', '.join(classes)} lacks; put it into `classes`, where the labelled site must have it too, "
            "or into `ignore_classes`"
        )
    rows = rows[names.isin(classes).to_numpy()]
    if not len(rows):
        raise InvalidMetadata(
            f"site '{split['site']}', part '{part}' holds no image of class {', '.join(classes)}; "
            "check `classes`, the site's folder and its split"
        )
    return rows


def check_training(frames: FrameStore, rows: np.ndarray, classes: Sequence[str], where: str) -> None:
    """Stops where a class has no training image, and warns where one has very few.

    Args:
        frames: The site's store.
        rows: Rows trained on.
        classes: The table of classes.
        where: Arm and site, for messages.

    Raises:
        InvalidMetadata: A class without an image.
    """
    counts = frames.manifest["class"].iloc[rows].value_counts()
    empty = [name for name in classes if not counts.get(name, 0)]
    if empty:
        raise InvalidMetadata(
            f"{where}: class {', '.join(empty)} has no training image; there are {counts.to_dict()}. "
            "Add images of it, take it out of `classes`, or change the split"
        )
    few = [name for name in classes if counts[name] < 5]
    if few:
        log.warning("%s: only %s; figures of so small a class mean little", where,
                    ", ".join(f"{counts[name]} training images of {name}" for name in few))  # fmt: skip


def few_labels(
    frames: FrameStore, rows: np.ndarray, classes: Sequence[str], count: int, seed: int
) -> np.ndarray:
    """Chooses a few labelled images of each class, each of another patient while there are some.

    Args:
        frames: The site's store, opened with labels.
        rows: Rows to choose from.
        classes: The table of classes.
        count: Images wanted of each class; all where there are fewer.
        seed: Of the choice.

    Returns:
        Row numbers, ascending.
    """
    table = frames.manifest.iloc[rows][["class", "patient"]].assign(row=rows)
    table = table.sample(frac=1, random_state=seed)
    table["turn"] = table.groupby(["class", "patient"]).cumcount()
    table = table.sort_values("turn", kind="stable")
    chosen = table[table["class"].isin(classes)].groupby("class").head(count)
    return np.sort(chosen["row"].to_numpy())
