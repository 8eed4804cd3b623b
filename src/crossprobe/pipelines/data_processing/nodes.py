"""Nodes of the data pipeline: unpack, call the library, return. Every one works on a single site."""

from __future__ import annotations

import logging
import os
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.data.leakage import LeakSettings
from crossprobe.data.ledger import LedgerSettings
from crossprobe.data.split import SplitSettings
from crossprobe.errors import InvalidMetadata
from crossprobe.phantom.settings import PhantomSettings, SiteName
from crossprobe.pipelines.data_processing.settings import RawSettings
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.ledger import (
    KEY_VARIABLE,
    OWN_PATIENTS,
    PUBLIC_KEY,
    collection_of,
    open_ledger,
    pseudonym_key,
    scheme_of,
)
from crossprobe.pipelines.run_context import run_context
from crossprobe.training.settings import RuntimeSettings

log = logging.getLogger(__name__)

# By this reason `decode` knows who waits and is not gone.
WAITING = "still being copied; left for the next time"


def collect_raw(
    raw: RawSettings, phantom: PhantomSettings, site: SiteName, runtime: RuntimeSettings
) -> dict[str, Any]:
    """Makes sure a site's raw data are there: generates the phantom, or finds what the clinic put there."""
    if raw.kind == "phantom":
        from crossprobe.phantom.cohort import generate

        record = generate(phantom, site, raw.folder, _workers(runtime))
        return {"kind": raw.kind, "folder": str(raw.folder), **record.model_dump(mode="json")}
    if not raw.folder.is_dir():
        raise InvalidMetadata(
            f"{site}.raw.folder is '{raw.folder}', which is no folder; point it at the site's data "
            f"(layout '{raw.kind}', see docs/reference/data-layouts.md)"
        )
    return {"kind": raw.kind, "folder": str(raw.folder)}


def ingest(
    raw_record: dict[str, Any], raw: RawSettings, site: str, ledger: LedgerSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads a site's metadata into recordings under pseudonyms, and says what was rejected or must wait."""
    from crossprobe.data.halves import half_of_patients
    from crossprobe.data.manifest import Rejection, rejection_table
    from crossprobe.data.recording_parts import recording_files
    from crossprobe.data.settling import unsettled_files
    from crossprobe.pipelines.training_lock import wait_for_training

    wait_for_training(ledger)
    key = pseudonym_key()
    if raw.kind in OWN_PATIENTS and key == PUBLIC_KEY:
        log.warning("%s: pseudonyms are made with the public key; set %s to a secret", site, KEY_VARIABLE)
    recordings, rejections = _read(raw, raw_record, site, key, ledger)
    if raw.half != "all":
        recordings = half_of_patients(recordings, raw.half)
    # The phantom was generated whole a moment ago by this run.
    seconds = 0.0 if raw.kind == "phantom" else ledger.settle_seconds
    rows = [{str(key): value for key, value in row.items()} for row in recordings.to_dict("records")]
    files = {row["video"]: recording_files(row) for row in rows}
    moving = unsettled_files({file for each in files.values() for file in each}, seconds)
    waiting = sorted(video for video, each in files.items() if moving & set(each))
    if waiting:
        log.warning("%s: %d recordings are still being copied and wait for the next run", site, len(waiting))
        told = rejection_table(Rejection(site, "ingest", video, WAITING) for video in waiting)
        rejections = pd.concat([rejections, told], ignore_index=True)
        recordings = recordings[~recordings["video"].isin(waiting)].reset_index(drop=True)
    log.info(
        "%s: %d recordings of %d patients, %d rejected",
        site, len(recordings), recordings["patient"].nunique(), len(rejections),
    )  # fmt: skip
    return recordings, rejections


def _read(
    raw: RawSettings, raw_record: dict[str, Any], site: str, key: str, ledger: LedgerSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads the source; where images are grouped, groups on record keep their names."""
    from crossprobe.data.image_groups import ImageGroups
    from crossprobe.data.sources.registry import GROUPING, read_source

    if raw.kind not in GROUPING:
        return read_source(raw.source(), site, key)
    collection = collection_of(raw, raw_record)
    with open_ledger(ledger) as book:
        groups = ImageGroups(book.image_groups(site, collection))
        found = read_source(raw.source(), site, key, groups)
        book.remember_groups(site, collection, groups.fresh)
    return found


def decode_frames(
    recordings: pd.DataFrame,
    rejected: pd.DataFrame,
    raw_record: dict[str, Any],
    raw: RawSettings,
    settings: FrameSettings,
    site: str,
    folders: Folders,
    runtime: RuntimeSettings,
    ledger: LedgerSettings,
) -> tuple[FrameStore, FrameStore, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Makes the site's frame store, decoding only what is new, and then enters it into the ledger.

    Returns:
        The store without labels and with, its manifest, rejections, and what arrived.
    """
    from crossprobe.data.frame_store import FrameStore
    from crossprobe.data.ingestion import ingest_recordings

    waiting = rejected.loc[rejected["reason"] == WAITING, "item"].tolist()
    with open_ledger(ledger) as book:
        built, arrivals = ingest_recordings(
            recordings,
            waiting,
            settings,
            folders.frames / site,
            site,
            collection_of(raw, raw_record),
            book,
            ledger,
            workers=_workers(runtime),
            experiment_run=run_context().experiment_run,
        )
    labelled = FrameStore.open(built.path, labels=True)
    log.info(
        "%s: %d frames (%d labelled) of %d patients, %d rejections; %d recordings decoded, %d taken over",
        site, len(labelled), int(labelled.manifest["labelled"].sum()),
        labelled.manifest["patient"].nunique(), len(built.rejections), len(built.decoded), built.taken_over,
    )  # fmt: skip
    facts = {
        "counts": arrivals.counts(),
        "decoded": len(built.decoded),
        "taken_over": built.taken_over,
        "frame_store": labelled.fingerprint,
        "collection": collection_of(raw, raw_record),
    }
    unlabelled = FrameStore.open(built.path, labels=False)
    return unlabelled, labelled, labelled.manifest, built.rejections, facts


def split_patients(
    manifest: pd.DataFrame,
    frames: FrameStore,
    arrivals: dict[str, Any],
    settings: SplitSettings,
    leaks: LeakSettings,
    site: str,
    ledger: LedgerSettings,
) -> dict[str, Any]:
    """Splits a site by patient: who was dealt to a part before stays there."""
    from crossprobe.data.near_duplicates import duplicate_groups
    from crossprobe.data.split import extend_split

    if settings.labelled_parts and not manifest["labelled"].any():
        log.warning("%s: no frame has a mask, so nothing can be scored here; are masks in their place?", site)
    collection, scheme = arrivals["collection"], scheme_of(settings)
    with open_ledger(ledger) as book:
        before = book.assignments(site, collection, scheme)
        new = set(manifest["patient"]) - set(before)
        groups = duplicate_groups(frames, leaks, new) if before and new else []
        split = extend_split(manifest, settings, site, before, groups)
        parts = {patient: part for part, patients in split.parts.items() for patient in patients}
        book.assign(site, collection, scheme, parts)
    if before and new:
        log.info("%s: %d new patients were dealt to parts", site, len(new & set(parts)))
    return split.model_dump(mode="json")


def audit_split(frames: FrameStore, split: dict[str, Any], settings: LeakSettings) -> dict[str, Any]:
    """Stops the run if a patient, a video or a near-identical frame stands in two parts."""
    from crossprobe.data.leakage import audit_split as audit
    from crossprobe.data.split import Split

    return audit(frames, Split.model_validate(split), settings).model_dump(mode="json")


def audit_sites(*splits: dict[str, Any], sites: tuple[str, ...]) -> dict[str, Any]:
    """Stops the run if a patient is on two sites; compares pseudonyms and opens no pixel."""
    from crossprobe.data.leakage import audit_sites as audit
    from crossprobe.data.split import Split

    patients = {
        site: [patient for part in Split.model_validate(split).parts.values() for patient in part]
        for site, split in zip(sites, splits, strict=True)
    }
    audit(patients)
    return {"shared_patients": 0, "patients": {site: len(ids) for site, ids in patients.items()}}


def describe_site(
    raw: dict[str, Any], frames: FrameStore, split: dict[str, Any], audit: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame, Figure]:
    """Sums up a site for the report: hashes, who is in which part, and a sheet of frames."""
    from crossprobe.data.manifest import manifest_hash
    from crossprobe.data.split import Split
    from crossprobe.reporting.contact_sheet import contact_sheet
    from crossprobe.reporting.run_sections import sizes_of

    parts = {patient: part for part, ids in Split.model_validate(split).parts.items() for patient in ids}
    cohort = sizes_of(frames.manifest.assign(part=frames.manifest["patient"].map(parts)))
    facts = {
        "data": raw["kind"],
        "devices": ", ".join(sorted(frames.manifest["device"].unique())),
        "manifest_hash": manifest_hash(frames.manifest),
        "frame_store": frames.fingerprint,
        "split_hash": split["hash"],
        "split_seed": split["seed"],
        "frames_compared_for_leaks": audit["compared_frames"],
        "largest_correlation_between_parts": round(audit["largest_correlation"], 3),
    }
    tally = frames.recordings()
    facts |= {
        "videos_with_marks_on_the_scan": int((tally["overlay_marks"] > 0).sum()),
        "videos_without_a_found_crop": int((~tally["crop_found"]).sum()),
        "blank_frames_dropped": int(tally["blank"].sum()),
        "frozen_frames_dropped": int(tally["frozen"].sum()),
    }
    if "settings_hash" in raw:
        facts["phantom_settings_hash"] = raw["settings_hash"]
    return facts, cohort, contact_sheet(frames)


def _workers(runtime: RuntimeSettings) -> int:
    return runtime.workers or os.cpu_count() or 1
