"""How pipelines open the ledger: the secret and the address of a database come from the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from crossprobe.data.fingerprint import fingerprint
from crossprobe.data.ledger import URL_VARIABLE, Ledger, LedgerSettings

if TYPE_CHECKING:
    from crossprobe.data.split import SplitSettings
    from crossprobe.pipelines.data_processing.settings import RawSettings

# Pseudonyms are keyed hashes. The key is read here and never becomes a parameter, because parameters are
# written into reports and experiment records. The public one is good enough for public data only.
KEY_VARIABLE = "CROSSPROBE_SALT"
PUBLIC_KEY = "public-data-only"
# The other kinds of raw data are generated or published.
OWN_PATIENTS = ("wrist", "image_folder")


def pseudonym_key() -> str:
    """Gives the key of pseudonyms, the public one where none is set."""
    return os.environ.get(KEY_VARIABLE, PUBLIC_KEY)


def open_ledger(settings: LedgerSettings) -> Ledger:
    """Opens the ledger. A database's address may hold a password, so it is never a parameter either.

    Args:
        settings: Where the SQLite file lies if no database is named.
    """
    return Ledger.open(settings, pseudonym_key(), os.environ.get(URL_VARIABLE))


def collection_of(raw: RawSettings, record: dict[str, Any]) -> str:
    """Names the body of data that a site reads, so that another one starts a history of its own.

    Args:
        raw: Where and in which layout; the folder may move.
        record: What `collect` says; the phantom's settings make another phantom another body.

    Returns:
        16 hex digits.
    """
    chosen = (raw.kind, raw.device, raw.patient_prefix, sorted(raw.classes))
    return fingerprint(chosen, record.get("settings_hash"))[:16]


def scheme_of(settings: SplitSettings) -> str:
    """Names the way patients are dealt; other fractions or another seed are another split.

    Args:
        settings: Of the split.

    Returns:
        16 hex digits.
    """
    labelled = sorted(settings.labelled_parts)
    return fingerprint(settings.fractions, settings.seed, settings.stratify, labelled)[:16]
