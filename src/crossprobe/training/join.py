"""The command that lends this machine to a run that another machine leads.

`python -m crossprobe.training.join HOST:PORT`: takes part in every training run that the pipeline on HOST
starts, one after the other, and ends when nothing has come for a while. Frames and states are read where the
leading machine has them, so both must see the project's data folder under the same path.
"""

from __future__ import annotations

import argparse
import json
import logging
import socket
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from crossprobe.errors import CrossprobeError
from crossprobe.training.assignment import Assignment
from crossprobe.training.distributed import OFFER_KEY, leave, take_part

log = logging.getLogger("crossprobe.join")

POLL_S = 1.0


def join(endpoint: str, patience_s: float) -> int:
    """Takes part in runs until none has come for a while.

    Args:
        endpoint: `host:port`, the leading machine's `runtime.distribution.rendezvous`.
        patience_s: How long to wait for a run, seconds.

    Returns:
        In how many runs it took part to their end.

    Raises:
        CrossprobeError: If the run's folder cannot be seen from here.
    """
    finished, seen, waiting_since = 0, "", time.monotonic()
    while time.monotonic() - waiting_since < patience_s:
        found = _offer(endpoint)
        if found is None or found[0]["run_id"] == seen:
            time.sleep(POLL_S)
            continue
        offer, own_address = found
        folder, seen = Path(offer["folder"]), offer["run_id"]
        assignment = Assignment.load(folder)
        log.info("%s: taking part with %d processes", assignment.title, offer["processes"])
        try:
            take_part(
                folder, assignment.title, seen, assignment.runtime.distribution, offer["processes"], endpoint,
                host=False, own_address=own_address,
            )  # fmt: skip
            leave(endpoint, seen)
            finished += 1
            log.info("%s: done", assignment.title)
        except CrossprobeError as error:
            # The leading machine decides whether to go on; this one waits for its next run.
            log.error("%s", error)
        waiting_since = time.monotonic()
    return finished


def _offer(endpoint: str) -> tuple[dict, str] | None:
    """What the leading machine asks for now, and this machine's address as seen from there; None: nothing."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            own_address = connection.getsockname()[0]
        store = dist.TCPStore(host, int(port), is_master=False, timeout=timedelta(seconds=5))
        return (json.loads(store.get(OFFER_KEY)), own_address) if store.check([OFFER_KEY]) else None
    except (OSError, RuntimeError):
        # Between two runs nobody listens there.
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line.

    Args:
        arguments: Without the program's name; those of the process if not given.

    Returns:
        0 if it took part in a run, else 1.
    """
    parser = argparse.ArgumentParser(
        prog="python -m crossprobe.training.join",
        description="Lends this machine to training runs that another machine leads.",
    )
    parser.add_argument(
        "endpoint", metavar="HOST:PORT", help="runtime.distribution.rendezvous of the leading machine"
    )
    parser.add_argument(
        "--patience-s", type=float, default=3600.0, help="end after so many seconds without a run"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not given.endpoint.rpartition(":")[2].isdigit():
        parser.error(f"{given.endpoint} is not HOST:PORT")
    return 0 if join(given.endpoint, given.patience_s) else 1


if __name__ == "__main__":
    sys.exit(main())
