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
from crossprobe.data.split import SplitSettings
from crossprobe.errors import InvalidMetadata
from crossprobe.phantom.settings import PhantomSettings, SiteName
from crossprobe.pipelines.data_processing.settings import RawSettings
from crossprobe.pipelines.folders import Folders
from crossprobe.training.settings import RuntimeSettings

log = logging.getLogger(__name__)

# Pseudonyms are keyed hashes. The key is read here and never becomes a parameter, because parameters are
# written into reports and experiment records. The public one is good enough for public data only.
KEY_VARIABLE = "CROSSPROBE_SALT"
PUBLIC_KEY = "public-data-only"


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


def ingest(raw_record: dict[str, Any], raw: RawSettings, site: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads a site's metadata into recordings under pseudonyms, and says what was rejected."""
    from crossprobe.data.halves import half_of_patients
    from crossprobe.data.sources.registry import read_source

    key = os.environ.get(KEY_VARIABLE, PUBLIC_KEY)
    if raw.kind in ("wrist", "image_folder") and key == PUBLIC_KEY:
        log.warning("%s: pseudonyms are made with the public key; set %s to a secret", site, KEY_VARIABLE)
    recordings, rejections = read_source(raw.source(), site, key)
    if raw.half != "all":
        recordings = half_of_patients(recordings, raw.half)
    log.info(
        "%s: %d recordings of %d patients, %d rejected",
        site, len(recordings), recordings["patient"].nunique(), len(rejections),
    )  # fmt: skip
    return recordings, rejections


def decode_frames(
    recordings: pd.DataFrame, settings: FrameSettings, site: str, folders: Folders, runtime: RuntimeSettings
) -> tuple[FrameStore, FrameStore, pd.DataFrame, pd.DataFrame]:
    """Decodes recordings into the site's frame store: once without labels, once with."""
    from crossprobe.data.frame_store import FrameStore
    from crossprobe.data.frames import build_frame_store

    path, rejections = build_frame_store(recordings, settings, folders.frames / site, site, _workers(runtime))
    labelled = FrameStore.open(path, labels=True)
    log.info(
        "%s: %d frames (%d labelled) of %d patients, %d rejections",
        site, len(labelled), int(labelled.manifest["labelled"].sum()),
        labelled.manifest["patient"].nunique(), len(rejections),
    )  # fmt: skip
    return FrameStore.open(path, labels=False), labelled, labelled.manifest, rejections


def split_patients(manifest: pd.DataFrame, settings: SplitSettings, site: str) -> dict[str, Any]:
    """Splits a site by patient."""
    from crossprobe.data.split import split_patients as split

    return split(manifest, settings, site).model_dump(mode="json")


def audit_split(frames: FrameStore, split: dict[str, Any], settings: LeakSettings) -> dict[str, Any]:
    """Stops the run if a patient, a video or a near-identical frame stands in two parts."""
    from crossprobe.data.leakage import audit_split as audit
    from crossprobe.data.split import Split

    return audit(frames, Split.model_validate(split), settings).model_dump(mode="json")


def audit_sites(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """Stops the run if a patient is on both sites; compares pseudonyms and opens no pixel."""
    from crossprobe.data.leakage import audit_sites as audit
    from crossprobe.data.split import Split

    patients = {
        site: [patient for part in Split.model_validate(split).parts.values() for patient in part]
        for site, split in (("source", source), ("target", target))
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
