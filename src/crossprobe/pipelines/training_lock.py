"""One training at a time in a project, and no ingestion under its feet.

A decision to train is open until its training has ended well, so one whose run died is open too and has to be
taken up again. Whether somebody is at it is told by the lock, which goes with the process that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crossprobe.data.folder_lock import folder_lock
from crossprobe.data.ledger import LedgerSettings
from crossprobe.errors import FolderBusy


@contextmanager
def training_lock(ledger: LedgerSettings, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the right to train, for this process and those it starts.

    Args:
        ledger: The lock lies beside its file.
        wait_seconds: How long to wait for another training, s.

    Raises:
        FolderBusy: Another one is still going then.
    """
    with folder_lock(ledger.file.parent / "training", "training", wait_seconds):
        yield


def training_in_progress(ledger: LedgerSettings) -> bool:
    """Whether another process trains.

    Args:
        ledger: As for `training_lock`.
    """
    try:
        with training_lock(ledger):
            return False
    except FolderBusy:
        return True


def wait_for_training(ledger: LedgerSettings) -> None:
    """Waits until no other process trains, so that its data do not change while it reads them.

    Args:
        ledger: As for `training_lock`; says how long.

    Raises:
        FolderBusy: One still trains after that time.
    """
    with training_lock(ledger, ledger.lock_wait_seconds):
        return
