"""Splits a site's patients into parts: seeded, stratified by class, hashed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.data.fingerprint import fingerprint
from crossprobe.data.manifest import manifest_hash
from crossprobe.data.split_classes import spread_classes
from crossprobe.errors import InvalidMetadata, LeakageFound


class SplitSettings(BaseModel):
    """Parts of a site and their share of its patients."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fractions: dict[str, float] = Field(
        {"train": 0.7, "val": 0.15, "test": 0.15}, description="Share of the patients by part; they sum to 1."
    )
    seed: int = Field(0, ge=0, description="Another seed, another split.")
    stratify: bool = Field(True, description="Keep the shares of the classes alike in all parts.")
    labelled_parts: tuple[str, ...] = Field(
        (),
        description="Parts whose every patient must have a labelled frame (the target's test part). "
        "They do without on a site that has no label at all, unless every part is named here.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.fractions or min(self.fractions.values()) <= 0:
            raise ValueError(f"fractions must name parts with shares above 0, got {self.fractions}")
        if not math.isclose(sum(self.fractions.values()), 1, abs_tol=1e-6):
            raise ValueError(f"fractions must sum to 1, got {sum(self.fractions.values()):g}")
        unknown = sorted(set(self.labelled_parts) - set(self.fractions))
        if unknown:
            raise ValueError(f"labelled_parts names {unknown}, which fractions does not")
        return self


class Split(BaseModel):
    """Patients by part. As JSON it is the file that every run logs.

    Attributes:
        site: Whose patients.
        parts: Sorted pseudonyms by part.
        seed: What it was drawn with.
        manifest_hash: Of the manifest it was drawn from.
        hash: Of all the above.
        outside: Patients in no part: they have no label, and every part wants labels. Nothing reads them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str
    parts: dict[str, list[str]]
    seed: int
    manifest_hash: str
    hash: str = ""
    outside: list[str] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        expected = fingerprint(self.site, self.parts, self.seed, self.manifest_hash)
        if not self.hash:
            object.__setattr__(self, "hash", expected)
        elif self.hash != expected:
            raise ValueError(
                f"split of site {self.site!r}: its hash does not match its content; was it edited?"
            )
        seen: dict[str, str] = {}
        for part, patients in self.parts.items():
            for patient in patients:
                if patient in seen:
                    raise LeakageFound(
                        f"split of site {self.site!r}: patient {patient} is in {seen[patient]!r} and {part!r}"
                    )
                seen[patient] = part
        return self

    def patients(self, part: str) -> list[str]:
        """Gives the patients of a part.

        Args:
            part: One of `parts`.

        Raises:
            InvalidMetadata: No such part.
        """
        if part not in self.parts:
            raise InvalidMetadata(
                f"split of site {self.site!r} has no part {part!r}; it has {sorted(self.parts)}"
            )
        return list(self.parts[part])


def split_patients(manifest: pd.DataFrame, settings: SplitSettings, site: str) -> Split:
    """Draws a split. The same patients, seed and settings give the same one in whatever order the rows come.

    Patients are ordered by a hash of seed and id within their class, and every part takes its turns evenly
    along that line, so each part gets its share of each class to within one patient. Parts that need labels
    are filled first, from the labelled patients. A class with a patient for every part is in every part.

    A site without any label is split all the same, as long as some part does without labels: it can be
    learned from, and its test part is whom to label first.

    Args:
        manifest: Of this site; columns patient, class, labelled.
        settings: Parts and seed.
        site: Its name.

    Returns:
        The split; each part holds at least one patient.

    Raises:
        InvalidMetadata: Too few patients, or too few with labels, for one a part.
    """
    table = _patients(manifest)
    total = len(table)
    if total < len(settings.fractions):
        raise InvalidMetadata(
            f"site {site!r} has {total} patient{'s' * (total != 1)}, but the parts "
            f"{sorted(settings.fractions)} need at least one each, and a patient cannot be shared; "
            "add patients or ask for fewer parts"
        )
    counts = _counts(settings.fractions, total)
    order = _ordered(table, settings, site)
    labelled = [patient for patient in order if table.loc[patient, "labelled"]]
    wanting = _wanting_labels(settings, bool(labelled))
    needed = {part: counts[part] for part in settings.fractions if part in wanting}
    if len(labelled) < len(needed):
        raise InvalidMetadata(
            f"site {site!r} has {len(labelled)} patients with labels, but the parts {sorted(needed)} "
            "need at least one each"
        )
    if sum(needed.values()) > len(labelled):
        shares = {part: settings.fractions[part] for part in needed}
        scale = sum(shares.values())
        needed = _counts({part: share / scale for part, share in shares.items()}, len(labelled))
    parts = _deal(labelled, needed)
    taken = {patient for patients in parts.values() for patient in patients}
    rest = [patient for patient in order if patient not in taken]
    others = {part: share for part, share in settings.fractions.items() if part not in needed}
    if others:
        scale = sum(others.values())
        parts |= _deal(rest, _counts({part: share / scale for part, share in others.items()}, len(rest)))
    if settings.stratify:
        parts = spread_classes(
            parts,
            {str(name): str(kind) for name, kind in table["kind"].items()},
            set(labelled),
            wanting,
        )
    return _split(manifest, settings, site, {name: part for part in parts for name in parts[part]})


def extend_split(
    manifest: pd.DataFrame,
    settings: SplitSettings,
    site: str,
    previous: Mapping[str, str],
    groups: Iterable[Collection[str]] = (),
) -> Split:
    """Draws a split that keeps every patient where earlier ones put them, and deals the new ones.

    With nobody to keep this is `split_patients`. Else a new patient who shares near-identical frames with
    others joins their part, and new patients of one such group stay together. The rest go, in an order hashed
    from seed and id, each to the part that lacks most: of patients in all, and of the patient's class. So the
    result does not depend on the order in which the patients of one batch come. It does depend on who was
    there before: no rule can keep patients in place, meet the shares and forget history. An unlabelled
    patient for whom every part wants labels stays outside the split until labels arrive.

    Args:
        manifest: Of this site; columns patient, class, labelled.
        settings: Parts and seed.
        site: Its name.
        previous: Part by patient, from the ledger; patients who are gone may be among them.
        groups: Patients who share near-identical frames.

    Returns:
        The split of the patients who are there now.

    Raises:
        InvalidMetadata: No patient is left in a part, or there are too few for a first split.
    """
    table = _patients(manifest)
    part_of = {patient: previous[patient] for patient in table.index if patient in previous}
    if not part_of:
        return split_patients(manifest, settings, site)
    order = [patient for patient in _ordered(table, settings, site) if patient not in part_of]
    for unit in _units(order, groups):
        parts = sorted({part_of[member] for member in unit if member in part_of})
        newcomers = [patient for patient in order if patient in unit]
        if not parts:
            parts = _lacking(newcomers, part_of, table, settings)
        if parts:
            part_of |= dict.fromkeys(newcomers, parts[0])
    empty = sorted(set(settings.fractions) - set(part_of.values()))
    if empty:
        raise InvalidMetadata(
            f"site {site!r}: no patient is left in {empty}, and patients never move between parts; bring "
            "recordings back, or start a new split with another seed"
        )
    return _split(manifest, settings, site, part_of)


def _split(manifest: pd.DataFrame, settings: SplitSettings, site: str, part_of: Mapping[str, str]) -> Split:
    return Split(
        site=site,
        parts={part: sorted(p for p in part_of if part_of[p] == part) for part in settings.fractions},
        seed=settings.seed,
        manifest_hash=manifest_hash(manifest),
        outside=sorted(set(manifest["patient"]) - set(part_of)),
    )


def _wanting_labels(settings: SplitSettings, labels: bool) -> tuple[str, ...]:
    """Parts that take labelled patients only: none where there is no label and some part needs none."""
    if labels or set(settings.labelled_parts) == set(settings.fractions):
        return settings.labelled_parts
    return ()


def _patients(manifest: pd.DataFrame) -> pd.DataFrame:
    """A row a patient, in order of ids: all classes in one word, and whether any frame has a label."""
    classes: dict[str, set[str]] = {}
    labelled: dict[str, bool] = {}
    columns = (manifest[name].tolist() for name in ("patient", "class", "labelled"))
    for patient, kind, has_label in zip(*columns, strict=True):
        classes.setdefault(patient, set()).add(kind)
        labelled[patient] = labelled.get(patient, False) or bool(has_label)
    order = sorted(classes)
    kinds = ["+".join(sorted(classes[patient])) for patient in order]
    held = [labelled[patient] for patient in order]
    return pd.DataFrame({"kind": kinds, "labelled": held}, index=pd.Index(order, name="patient"))


def _units(order: Sequence[str], groups: Iterable[Collection[str]]) -> list[set[str]]:
    """Who is dealt together: the group of each new patient, or the patient alone; first come, first dealt."""
    group_of = {patient: set(group) for group in groups for patient in group}
    units: list[set[str]] = []
    for patient in order:
        unit = group_of.get(patient, {patient})
        if unit not in units:
            units.append(unit)
    return units


def _lacking(
    newcomers: Sequence[str], part_of: Mapping[str, str], table: pd.DataFrame, settings: SplitSettings
) -> list[str]:
    """Names the part that lacks most, or none if every part wants labels that the newcomers lack."""
    labelled = bool(table.loc[list(newcomers), "labelled"].all())
    wanting = _wanting_labels(settings, bool(table["labelled"].any()))
    open_parts = [part for part in settings.fractions if labelled or part not in wanting]
    kinds = table["kind"].to_dict()
    alike = [patient for patient in part_of if kinds[patient] == kinds[newcomers[0]]]

    def lack(part: str) -> tuple[float, str]:
        share = settings.fractions[part]
        total = share * (len(part_of) + len(newcomers)) - sum(held == part for held in part_of.values())
        if not settings.stratify:
            return total, part
        return total + share * (len(alike) + len(newcomers)) - sum(part_of[p] == part for p in alike), part

    return [max(open_parts, key=lack)] if open_parts else []


def _ordered(table: pd.DataFrame, settings: SplitSettings, site: str) -> list[str]:
    kinds = {str(patient): str(kind) for patient, kind in table["kind"].items()}

    def key(patient: str) -> tuple[str, str]:
        draw = hashlib.sha256(f"{settings.seed}\0{site}\0{patient}".encode()).hexdigest()
        return (kinds[patient] if settings.stratify else "", draw)

    return sorted(kinds, key=key)


def _counts(fractions: dict[str, float], total: int) -> dict[str, int]:
    """Shares out patients by largest remainder, at least one a part."""
    exact = {part: share * total for part, share in fractions.items()}
    counts = {part: max(1, math.floor(value + 1e-9)) for part, value in exact.items()}
    while sum(counts.values()) < total:
        part = max(exact, key=lambda name: (exact[name] - counts[name], name))
        counts[part] += 1
    while sum(counts.values()) > total:
        part = max(
            (name for name in counts if counts[name] > 1), key=lambda name: (counts[name] - exact[name], name)
        )
        counts[part] -= 1
    return counts


def _deal(patients: Sequence[str], counts: dict[str, int]) -> dict[str, list[str]]:
    """Gives each part its number of patients, spread evenly along the line; what is over goes to nobody."""
    total = len(patients)
    wanted: dict[str | None, int] = dict(counts.items())
    wanted[None] = total - sum(counts.values())
    given: dict[str | None, list[str]] = {part: [] for part in wanted}
    for place, patient in enumerate(patients, start=1):
        behind = {
            part: count * place / total - len(given[part])
            for part, count in wanted.items()
            if len(given[part]) < count
        }
        given[max(behind, key=lambda part: (behind[part], part or ""))].append(patient)
    return {part: given[part] for part in counts}
