"""Nodes of the arrivals pipeline: unpack, call the library, return."""

from __future__ import annotations

import datetime
import logging
import time
from contextlib import ExitStack
from typing import Any

from crossprobe.data.ledger import Ledger, LedgerSettings
from crossprobe.errors import FolderBusy
from crossprobe.pipelines.arrivals.settings import ArrivalsSettings
from crossprobe.pipelines.ledger import open_ledger
from crossprobe.pipelines.run_context import run_context
from crossprobe.pipelines.training_lock import training_in_progress, training_lock

log = logging.getLogger(__name__)


def decide_on_training(
    settings: ArrivalsSettings,
    ledger: LedgerSettings,
    source_arrivals: dict[str, Any],
    source_split: dict[str, Any],
    target_arrivals: dict[str, Any],
    target_split: dict[str, Any],
) -> dict[str, Any]:
    """Compares the data with those last trained on and decides by the rule."""
    from crossprobe.data.rerun_policy import decide

    found = {"source": (source_arrivals, source_split), "target": (target_arrivals, target_split)}
    # The split's hash covers manifest and parts; the store's covers settings and code, which retrain nothing.
    hashes = {site: split["hash"] for site, (_, split) in found.items()}
    patients = {
        site: sorted(patient for part in split["parts"].values() for patient in part)
        for site, (_, split) in found.items()
    }
    with open_ledger(ledger) as book:
        decision = decide(
            settings.rule, hashes, patients, book.last_trained(), datetime.datetime.now(datetime.UTC)
        )
        if decision.retrain and training_in_progress(ledger):
            reason = f"{decision.reason}; but {_open(book)} is being trained on, so nothing is started"
            decision = decision.model_copy(update={"retrain": False, "reason": reason})
        log.info("arrivals: %s", decision.reason)
        facts = decision.model_dump(mode="json")
        facts["number"] = book.decide(
            {
                "data_hash": decision.data_hash,
                "patients": patients,
                "retrain": decision.retrain,
                "reason": decision.reason,
                "experiment_run": run_context().experiment_run,
            }
        )
    for site, (arrivals, _) in found.items():
        facts |= {f"{site}_{name}": count for name, count in arrivals["counts"].items()}
        facts[f"{site}_decoded"] = arrivals["decoded"]
    return facts


def train_again(
    settings: ArrivalsSettings, ledger: LedgerSettings, decision: dict[str, Any]
) -> dict[str, Any]:
    """Runs the pipelines of a training in a process of their own, if it was decided so."""
    from crossprobe.pipelines.session import run_in_new_process

    start = time.monotonic()
    with ExitStack() as held:
        due = decision["retrain"] and _may_train(ledger, decision, held)
        if due:
            context = run_context()
            assert context.project is not None
            for pipeline in settings.pipelines:
                log.info("arrivals: running %s", pipeline)
                run_in_new_process(context.project, pipeline, context.environment, context.parameters)
            record_training(ledger, decision)
        else:
            log.info("arrivals: nothing is trained")
    return {"trained": due, "seconds": time.monotonic() - start}


def _may_train(ledger: LedgerSettings, decision: dict[str, Any], held: ExitStack) -> bool:
    """Takes the right to train; two runs may have decided so at the same moment."""
    try:
        held.enter_context(training_lock(ledger))
    except FolderBusy as error:
        log.info("arrivals: another run trains already (%s)", error)
        return False
    with open_ledger(ledger) as book:
        last = book.last_trained()
    if last is not None and last["data_hash"] == decision["data_hash"]:
        log.info("arrivals: another run has trained on these very data meanwhile")
        return False
    return True


def _open(book: Ledger) -> str:
    found = book.open_decision()
    return "other data" if found is None else f"decision {found['id']} of {found['at']:%Y-%m-%d %H:%M}"


def record_training(ledger: LedgerSettings, decision: dict[str, Any]) -> None:
    """Puts on record that the training which a decision asked for has ended well."""
    with open_ledger(ledger) as book:
        book.trained(decision["number"])
