"""One training run on several processes and machines, started from inside a node.

The node's own process launches workers through torch's elastic agent and waits; it keeps the session, the
catalog and the tracker, of which workers know nothing. A worker reads its assignment from the run's folder;
the first of them writes the run's state there, as a run in one process does. When a worker dies the agent
stops the others, and all start again from that state, a bounded number of times.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from crossprobe.errors import RankFailed, TrainingDiverged
from crossprobe.training.assignment import Assignment
from crossprobe.training.loop import train
from crossprobe.training.ranks import Ranks
from crossprobe.training.runtime import Runtime, resolve
from crossprobe.training.settings import DistributionSettings

log = logging.getLogger(__name__)

OFFER_KEY = "crossprobe/offer"
_LEFT_KEY = "crossprobe/left"
_FAREWELL_S = 20.0
_LOCAL = "localhost"


def launch(folder: Path, title: str, runtime: Runtime) -> None:
    """Runs the assignment in a folder on all processes, and waits for its end.

    Args:
        folder: Holds the assignment; the run's state is written there.
        title: Of the run, for errors.
        runtime: How many processes, and where they meet.

    Raises:
        TrainingDiverged: As in one process.
        RankFailed: If a worker died more often than it may, with that worker's own error, or if a machine
            did not come in time.
    """
    settings = runtime.settings.distribution
    endpoint = settings.rendezvous if settings.nodes > 1 and settings.rendezvous else f"{_LOCAL}:0"
    for restarts_left in range(settings.max_restarts, -1, -1):
        # The agent's own restarts would meet the addresses that dead processes left behind.
        run_id = f"{folder.name}-{uuid.uuid4().hex[:8]}"
        offered = _offered(folder, run_id, runtime, endpoint) if settings.nodes > 1 else None
        try:
            with offered or contextlib.nullcontext():
                take_part(folder, title, run_id, settings, runtime.processes_per_node, endpoint, host=True)
            return
        except RankFailed as error:
            if not restarts_left or not isinstance(error.__cause__, ChildFailedError):
                raise
            log.warning("%s; all start again from the last checkpoint", error)


def take_part(
    folder: Path,
    title: str,
    run_id: str,
    settings: DistributionSettings,
    processes: int,
    endpoint: str,
    host: bool,
    own_address: str | None = None,
) -> None:
    """Runs this machine's workers of a run.

    Args:
        folder: Holds the assignment.
        title: Of the run, for errors.
        run_id: The same on every machine.
        settings: Machines, restarts and patience.
        processes: Workers on this machine.
        endpoint: `host:port` where the machines meet.
        host: Whether this machine is the one they meet at.
        own_address: How the other machines reach this one; found out where it is not given.

    Raises:
        TrainingDiverged: As in one process.
        RankFailed: As `launch`.
    """
    meeting_place = endpoint.rpartition(":")[0]
    config = LaunchConfig(
        min_nodes=settings.nodes,
        max_nodes=settings.nodes,
        nproc_per_node=processes,
        run_id=run_id,
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"join_timeout": settings.timeout_s, "timeout": settings.timeout_s, "is_host": host},
        max_restarts=0,
        start_method="spawn",
        local_addr=meeting_place if host else own_address,
    )
    try:
        with _own_signals(), tempfile.TemporaryDirectory() as errors:
            config.logs_specs = DefaultLogsSpecs(log_dir=errors)
            results = elastic_launch(config, work)(str(folder), run_id, settings.nodes == 1)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise RankFailed(f"{title}: process {rank} failed: {_own_words(failure.message)}") from error
    except (RendezvousError, dist.DistError) as error:
        raise RankFailed(
            f"{title}: {settings.nodes} machines with {processes} processes each did not meet at "
            f"{endpoint} within {settings.timeout_s:.0f} s ({error}); is "
            "`python -m crossprobe.training.join` running on the others?"
        ) from error
    for diverged in filter(None, results.values()):
        raise TrainingDiverged(diverged)


@record
def work(folder: str, run_id: str, alone: bool) -> str | None:
    """What a worker does: joins the others, builds the task, trains.

    Args:
        folder: Holds the assignment.
        run_id: Of this attempt.
        alone: Whether all workers run on this machine.

    Returns:
        Nothing, or the message of a loss that diverged: starting again would not help.
    """
    _end_with_parent()
    # At once, also while it waits for another process inside an exchange.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assignment = Assignment.load(Path(folder))
    settings = assignment.runtime.distribution
    with _group(assignment, settings, run_id, alone) as ranks:
        logging.basicConfig(level=logging.INFO if ranks.first else logging.WARNING)
        runtime = resolve(assignment.runtime, ranks)
        task, samples = assignment.build(Path(folder), runtime)
        try:
            train(
                task, assignment.settings, samples, Path(folder), assignment.identity, assignment.title,
                runtime,
            )  # fmt: skip
        except TrainingDiverged as error:
            return str(error)
    return None


@contextlib.contextmanager
def _group(
    assignment: Assignment, settings: DistributionSettings, run_id: str, alone: bool
) -> Iterator[Ranks]:
    """The process group of all workers, for the time of a run."""
    place = {name: int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    ranks = Ranks(place["RANK"], place["WORLD_SIZE"], place["LOCAL_RANK"])
    on_gpu = assignment.runtime.device != "cpu" and torch.cuda.is_available()
    if alone:
        # Nobody from outside needs to connect.
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")
    if assignment.runtime.threads is None:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // place["LOCAL_WORLD_SIZE"]))
    patience = timedelta(seconds=settings.timeout_s)
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=patience
    )
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=dist.PrefixStore(run_id, store), rank=ranks.rank, world_size=ranks.count, timeout=patience,
    )  # fmt: skip
    yield ranks
    # Not after an error: it would wait for processes that wait for this one.
    dist.destroy_process_group()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Puts back the signal handlers that the elastic agent replaces and leaves behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    """Ends this worker when the process that launched it is killed: nobody else would."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _offered(folder: Path, run_id: str, runtime: Runtime, endpoint: str) -> Iterator[None]:
    """Tells machines that ask at the meeting place which run to take part in."""
    host, _, port = endpoint.rpartition(":")
    store = dist.TCPStore(host, int(port), is_master=True, wait_for_workers=False, multi_tenant=True)
    offer = {
        "folder": str(folder.resolve()),
        "run_id": run_id,
        "processes": runtime.processes_per_node,
    }
    store.set(OFFER_KEY, json.dumps(offer))
    try:
        yield
        _await_farewells(store, run_id, runtime.settings.distribution.nodes - 1)
    finally:
        del store


def _await_farewells(store: dist.TCPStore, run_id: str, machines: int) -> None:
    """Keeps the meeting place open until the others have signed off there, which else fails loudly."""
    deadline = time.monotonic() + _FAREWELL_S
    while store.add(f"{_LEFT_KEY}/{run_id}", 0) < machines:
        if time.monotonic() > deadline:
            log.warning("a machine did not sign off within %.0f s; going on without", _FAREWELL_S)
            return
        time.sleep(0.05)


def leave(endpoint: str, run_id: str, timeout_s: float = 5.0) -> None:
    """Tells the leading machine that this one is done with a run, so that it need not wait longer.

    Args:
        endpoint: `host:port` where the machines met.
        run_id: Of the run.
        timeout_s: Longest wait for the leading machine, seconds.
    """
    host, _, port = endpoint.rpartition(":")
    try:
        store = dist.TCPStore(host, int(port), is_master=False, timeout=timedelta(seconds=timeout_s))
        store.add(f"{_LEFT_KEY}/{run_id}", 1)
    except (OSError, RuntimeError):
        log.info("the leading machine has gone already")


def _own_words(message: Any) -> str:
    """What a worker said of its end, without the traceback around it."""
    if isinstance(message, dict):
        message = message.get("message", message)
    return str(message)
