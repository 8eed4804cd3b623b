"""Takes recordings into a frame store and then into the ledger, in that order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frames import BuiltStore, update_frame_store
from crossprobe.data.ledger import Arrivals, Ledger, LedgerSettings, Observation, State


def ingest_recordings(
    recordings: pd.DataFrame,
    waiting: Collection[str],
    settings: FrameSettings,
    root: Path,
    site: str,
    collection: str,
    ledger: Ledger,
    ledger_settings: LedgerSettings,
    workers: int | None = None,
    experiment_run: str | None = None,
) -> tuple[BuiltStore, Arrivals]:
    """Brings the frame store of a site up to date and records what became of every recording.

    Recordings are first entered as `new`. They become `ingested` or `rejected` after the store is finished,
    in one transaction; a run that dies in between leaves them `new`, and the next one catches up.

    Args:
        recordings: Table that fits `RecordingSchema`, of this site only.
        waiting: Videos that are still being copied.
        settings: How frames are made.
        root: Folder of the site's frame stores.
        site: The site's name.
        collection: Which body of data of that site.
        ledger: Open.
        ledger_settings: Waiting times, how much may vanish, and how many stores stay.
        workers: Processes that decode.
        experiment_run: MLflow's id of the run, if there is one.

    Returns:
        The store, and what was new, changed, renamed or gone.

    Raises:
        LedgerError: Too much is gone at once, or the ledger cannot be used.
        StoreError: The frames stage failed; nothing counts as ingested.
        FolderBusy: Another run writes these frames.
    """
    hashes = ledger.hashes()
    rows = [{str(key): value for key, value in row.items()} for row in recordings.to_dict("records")]
    seen = [Observation(row["video"], row["patient"], row["device"], None, None, None, "new") for row in rows]
    idle = [
        Observation(video, None, None, None, None, None, "new", "still being copied") for video in waiting
    ]
    run = ledger.begin(site, collection, [*seen, *idle], ledger_settings.largest_loss, experiment_run)
    built = update_frame_store(
        recordings, settings, root, site, workers, hashes, ledger_settings.keep_stores,
        ledger_settings.lock_wait_seconds,
    )  # fmt: skip
    reasons: dict[str, str] = {}
    for item, reason in zip(built.rejections["item"], built.rejections["reason"], strict=True):
        reasons[item] = f"{reasons[item]}; {reason}" if item in reasons else reason
    kept = set(pd.read_parquet(built.path / "manifest.parquet", columns=["video"])["video"])
    observed = [_outcome(row, built, kept, reasons) for row in rows]
    fingerprint = built.path.name
    return built, ledger.finish(site, collection, run, [*observed, *idle], fingerprint, hashes)


def _outcome(
    row: Mapping[str, Any], built: BuiltStore, kept: Collection[str], reasons: Mapping[str, str]
) -> Observation:
    video = row["video"]
    content = built.contents[video]
    state: State = "ingested" if video in kept else "rejected"
    if video in built.left:
        state = "new"
    known = content.states.get(row["path"])
    size = None if known is None else known.size
    return Observation(
        video, row["patient"], row["device"], content.video, content.labels, size, state, reasons.get(video)
    )
