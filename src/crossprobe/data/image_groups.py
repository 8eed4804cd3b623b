"""Groups of near-identical images that keep their names while images arrive.

A group stands for a patient, and patients never move between parts. So a new image joins the group that it
resembles, and one that resembles two groups is set aside: to join them would move one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


@dataclass
class ImageGroups:
    """Which group an image was put into, by the hash of its pixels.

    Attributes:
        known: Pseudonyms of groups on record, by content.
        fresh: Those given since, which the caller puts on record.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)


class JoinedGroups(NamedTuple):
    """What `join_groups` finds.

    Attributes:
        groups: [n] int64: the first image of each image's group.
        bridging: New images that are alike to two groups on record; in no group.
    """

    groups: np.ndarray
    bridging: frozenset[int]


def join_groups(pairs: Iterable[tuple[int, int]], names: Sequence[str | None]) -> JoinedGroups:
    """Lets images join the groups that are there, and makes groups of the rest.

    Groups are closed: where a is alike to b and b to c, all three are one group. Images that are on record
    stay where they are, even if two of them are alike.

    Args:
        pairs: Images that are alike, by number.
        names: Of the group on record, of every image; None for a new image.

    Returns:
        Groups and who was set aside. The order of the pairs does not matter.
    """
    leader = list(range(len(names)))
    label: dict[int, str] = {}
    first_of: dict[str, int] = {}
    for place, name in enumerate(names):
        if name is not None:
            leader[place] = first_of.setdefault(name, place)
            label[leader[place]] = name

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    bridging: set[int] = set()
    for one, other in sorted((min(pair), max(pair)) for pair in pairs):
        first, second = sorted((find(one), find(other)))
        if first == second or bridging & {one, other}:
            continue
        if first in label and second in label:
            bridging.update([place for place in (one, other) if names[place] is None][-1:])
            continue
        leader[second] = first
        if second in label:
            label[first] = label.pop(second)
    return _closed([find(place) for place in range(len(names))], bridging)


def _closed(roots: Sequence[int], bridging: set[int]) -> JoinedGroups:
    first: dict[int, int] = {}
    groups = np.arange(len(roots), dtype=np.int64)
    for place, root in enumerate(roots):
        if place not in bridging:
            groups[place] = first.setdefault(root, place)
    return JoinedGroups(groups, frozenset(bridging))
