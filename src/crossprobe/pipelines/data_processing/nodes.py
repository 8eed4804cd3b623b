"""Nodes of the data pipeline: unpack, call the library, return. Every one works on a single site."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.split import SplitSettings
from crossprobe.errors import InvalidMetadata
from crossprobe.phantom.settings import PhantomSettings
from crossprobe.pipelines.data_processing.settings import RawSettings
from crossprobe.pipelines.folders import Folders
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.data.frame_store import FrameStore

log = logging.getLogger(__name__)


def collect_raw(
    raw: RawSettings, phantom: PhantomSettings, site: str, runtime: RuntimeSettings
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
    raw_record: dict[str, Any], raw: RawSettings, site: str, salt: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads a site's metadata into recordings under pseudonyms, and says what was rejected."""
    from crossprobe.data.sources.registry import read_source

    recordings, rejections = read_source(raw.source(), site, salt)
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


def audit_split(frames: FrameStore, split: dict[str, Any]) -> dict[str, Any]:
    """Stops the run if a patient, a video or a near-identical frame stands in two parts."""
    from crossprobe.data.leakage import audit_split as audit
    from crossprobe.data.split import Split

    return audit(frames, Split.model_validate(split))


def audit_sites(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """Stops the run if a patient is on both sites; compares pseudonyms only."""
    from crossprobe.data.leakage import audit_sites as audit
    from crossprobe.data.split import Split

    return audit(Split.model_validate(source), Split.model_validate(target))


def _workers(runtime: RuntimeSettings) -> int:
    return runtime.workers or os.cpu_count() or 1
