"""Gives every part of a split a patient of each class that is large enough, however rare it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def spread_classes(
    parts: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    labelled: Collection[str],
    labelled_parts: Collection[str],
) -> dict[str, list[str]]:
    """Swaps patients where a part lacks a class that has patients enough for all parts.

    Dealing by share leaves a class of three patients wholly in the training part. A swap keeps the size of
    every part, and takes no part's last patient of a class. Where nothing is lacking, nothing moves.

    Args:
        parts: Patients by part.
        kinds: Class by patient; several joined with `+`.
        labelled: Patients with labels.
        labelled_parts: Parts that take labelled patients only.

    Returns:
        Patients by part.
    """
    dealt = {part: list(patients) for part, patients in parts.items()}
    total = Counter(kinds[patient] for patients in dealt.values() for patient in patients)
    for kind in sorted(total, key=lambda name: (total[name], name)):
        if "+" in kind or total[kind] < len(dealt):
            continue
        for part in dealt:
            if not any(kind in kinds[patient].split("+") for patient in dealt[part]):
                _swap(dealt, part, kind, kinds, labelled, labelled_parts)
    return dealt


def _swap(
    dealt: dict[str, list[str]],
    part: str,
    kind: str,
    kinds: Mapping[str, str],
    labelled: Collection[str],
    labelled_parts: Collection[str],
) -> None:
    """Brings one patient of a class into a part; leaves all as it is where that would rob another part."""
    held = {name: Counter(kinds[patient] for patient in patients) for name, patients in dealt.items()}
    for donor in sorted(dealt, key=lambda name: (-held[name][kind], name)):
        given = [
            patient for patient in dealt[donor]
            if kinds[patient] == kind and (part not in labelled_parts or patient in labelled)
        ]  # fmt: skip
        taken = [
            patient for patient in dealt[part]
            if held[part][kinds[patient]] > 1 and (donor not in labelled_parts or patient in labelled)
        ]  # fmt: skip
        if held[donor][kind] > 1 and given and taken:
            # Of the commonest class, which misses it least.
            gone = max(taken, key=lambda patient: (held[part][kinds[patient]], patient))
            dealt[donor][dealt[donor].index(given[-1])] = gone
            dealt[part][dealt[part].index(gone)] = given[-1]
            return
