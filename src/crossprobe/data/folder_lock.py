"""A lock on a folder that one process holds at a time, with a note of who holds it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossprobe.errors import FolderBusy

POLL_S = 0.2
# A process started by the holder inherits the right to write through this variable.
PASS_VARIABLE = "CROSSPROBE_LOCK_PASS"


@contextmanager
def folder_lock(folder: Path, purpose: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock of a folder; the operating system lets go of it when the holder dies, however it dies.

    The lock is `flock` on `.<name>.lock` beside the folder; the file stays and is never removed, because a
    lock on a removed file protects nothing. Its text says who holds or last held it. A process that the
    holder started, and that has its pass in `CROSSPROBE_LOCK_PASS`, writes on the holder's behalf and waits
    for nobody.

    Args:
        folder: What is written into; the folder that holds it is made where missing.
        purpose: What for, in a few words; shown to whoever must wait.
        wait_seconds: How long to wait for another holder, s.

    Raises:
        FolderBusy: It is still held after that time; the message names process, machine, purpose and since
            when.
    """
    file = folder.with_name(f".{folder.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+", encoding="utf-8") as stream:
        if _passed_on(file):
            yield
            return
        deadline = time.monotonic() + wait_seconds
        while not _taken(stream.fileno()):
            if time.monotonic() >= deadline:
                raise FolderBusy(
                    f"{folder}: {_holder(file)} writes here, and this run waited {wait_seconds:g} s; run "
                    "again when it has ended, or set ledger.lock_wait_seconds to wait longer"
                )
            time.sleep(POLL_S)
        token = f"{os.getpid()}-{time.monotonic_ns()}"
        note = {
            "process": os.getpid(),
            "machine": socket.gethostname(),
            "purpose": purpose,
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "pass": token,
        }
        stream.truncate(0)
        stream.write(json.dumps(note))
        stream.flush()
        before = os.environ.get(PASS_VARIABLE)
        os.environ[PASS_VARIABLE] = token
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(PASS_VARIABLE, None)
            else:
                os.environ[PASS_VARIABLE] = before
            stream.truncate(0)
            fcntl.flock(stream.fileno(), fcntl.LOCK_UN)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(file: Path) -> dict:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _passed_on(file: Path) -> bool:
    """Whether the holder handed its right to this process; a note left by a dead holder passes nothing on."""
    token = os.environ.get(PASS_VARIABLE)
    if not token or _note(file).get("pass") != token:
        return False
    with open(file, "a+", encoding="utf-8") as probe:
        return not _taken(probe.fileno())


def _holder(file: Path) -> str:
    note = _note(file)
    if not note:
        return "another run"
    return f"process {note['process']} on {note['machine']} ({note['purpose']}, since {note['since']})"
