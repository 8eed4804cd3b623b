"""What a model learned from, as its package says it: hashes of data and splits, and of pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossprobe.data.fingerprint import fingerprint
from crossprobe.prediction.package import Package

# Parts whose patients a model may have learned from: they are no evidence for or against it.
LEARNED_FROM = {"source": ("train", "val"), "second_source": ("train",), "target": ("train",)}
KNOWN = ("data", "devices", "manifest_hash", "frame_store", "split_hash")


def provenance(study: str, sites: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Describes the data behind a model.

    Args:
        study: Table of arms it comes from.
        sites: Facts and split of each site it learned from, by name.

    Returns:
        Plain data for the package's index.
    """
    return {
        "study": study,
        "sites": {site: {key: facts[key] for key in KNOWN} for site, (facts, _) in sites.items()},
        "learned_from": {
            site: sorted(
                _hashed(patient) for part in LEARNED_FROM[site] for patient in split["parts"].get(part, ())
            )
            for site, (_, split) in sites.items()
        },
    }


def unseen_patients(model: Package, site: str, patients: list[str]) -> list[str]:
    """Gives the patients of a site whom a model has not learned from."""
    learned = set(model.index.provenance["learned_from"][site])
    return [patient for patient in patients if _hashed(patient) not in learned]


def _hashed(patient: str) -> str:
    return fingerprint(patient)[:16]
