"""What two sites hand each other through an MLflow server: weights, temperatures, metrics and hashes."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.pseudonym import crossing_mark
from crossprobe.errors import CrossprobeError, LeakageFound
from crossprobe.pipelines.ledger import KEY_VARIABLE, OWN_PATIENTS, PUBLIC_KEY, pseudonym_key
from crossprobe.pipelines.run_context import run_context

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from crossprobe.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)
NOTE = "note.json"


class ExchangeSettings(BaseModel):
    """Where two sites meet on the MLflow server that both of them name in MLFLOW_TRACKING_URI."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str = Field(
        "crossprobe-exchange", description="MLflow experiment that holds what is handed over"
    )
    study: str = Field("cross_domain", pattern=r"^[\w-]+$", description="Both sites must name the same one")


def publish(
    settings: ExchangeSettings, kind: str, checkpoints: Mapping[str, Checkpoint], note: Mapping[str, Any]
) -> dict[str, Any]:
    """Hands over checkpoints and a note; what is half there when something fails is never fetched.

    Args:
        settings: Where.
        kind: What it is, such as `encoders`.
        checkpoints: By name.
        note: Plain data that go with them: hashes, temperatures, marks of patients, means.

    Returns:
        The run's id and the SHA-256 of each weights file.
    """
    client = _client()
    tags = {"crossprobe.study": settings.study, "crossprobe.kind": kind}
    run = client.create_run(_experiment(client, settings), run_name=f"{settings.study}.{kind}", tags=tags)
    run_id = run.info.run_id
    try:
        digests = {}
        with tempfile.TemporaryDirectory() as folder:
            for name, checkpoint in checkpoints.items():
                kept = checkpoint.save(Path(folder) / name)
                digests[name] = json.loads((kept / "checkpoint.json").read_text(encoding="utf-8"))["sha256"]
                client.log_artifacts(run_id, str(kept), name)
                client.set_tag(run_id, f"sha256.{name}", digests[name])
        client.log_dict(run_id, dict(note), NOTE)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    log.info("%s of study %s are on the server, run %s", kind, settings.study, run_id)
    return {"run": run_id, "kind": kind, "parent": run_context().experiment_run, "sha256": digests}


def fetch(
    settings: ExchangeSettings, kind: str, names: Sequence[str], maker: str
) -> tuple[dict[str, Checkpoint], dict[str, Any]]:
    """Takes the newest complete hand-over of a kind.

    Args:
        settings: Where.
        kind: What it is.
        names: Checkpoints that must be in it.
        maker: Pipeline that publishes it, for the message.

    Returns:
        Checkpoints by name, and the note.

    Raises:
        CrossprobeError: There is none, one is missing, or its weights are not those that were published.
    """
    from crossprobe.models.checkpoint import Checkpoint

    client = _client()
    wanted = {"crossprobe.study": settings.study, "crossprobe.kind": kind}
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items())
    runs = client.search_runs(
        [_experiment(client, settings)], f"{query} and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"], max_results=1,
    )  # fmt: skip
    if not runs:
        raise CrossprobeError(
            f"no {kind} of study '{settings.study}' in experiment '{settings.experiment}' on "
            f"{client.tracking_uri}; run --pipeline={maker} at the other site first, with the same server"
        )
    [run] = runs
    checkpoints = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            published = run.data.tags.get(f"sha256.{name}")
            if published is None:
                raise CrossprobeError(
                    f"run {run.info.run_id} on {client.tracking_uri} holds no {name}; have both sites the "
                    "same arms in conf/base/parameters/studies.yml?"
                )
            place = Path(client.download_artifacts(run.info.run_id, name, folder))
            checkpoints[name] = Checkpoint.load(place)
            found = json.loads((place / "checkpoint.json").read_text(encoding="utf-8"))["sha256"]
            if found != published:
                raise CrossprobeError(
                    f"{name} of run {run.info.run_id} is not what was published: its SHA-256 is "
                    f"{found[:12]}…, the tag says {published[:12]}…; do not use it, and ask the other site"
                )
        note = json.loads(Path(client.download_artifacts(run.info.run_id, NOTE, folder)).read_text("utf-8"))
    log.info("%s come from run %s", kind, run.info.run_id)
    return checkpoints, {**note, "run": run.info.run_id}


def patients_note(site: str, kind: str, patients: Iterable[str]) -> dict[str, Any]:
    """Describes the patients of a site so that the other one can tell whether it has some of them.

    Args:
        site: This site.
        kind: Its kind of raw data.
        patients: Its patients' pseudonyms; they stay here.

    Returns:
        A mark for each patient, and one of the key, for a note.

    Raises:
        CrossprobeError: They are a clinic's patients and the key is the public one.
    """
    key = pseudonym_key()
    if kind in OWN_PATIENTS and key == PUBLIC_KEY:
        raise CrossprobeError(
            f"site {site!r} has patients of its own (layout '{kind}'), and their pseudonyms are made with "
            f"the public key: set {KEY_VARIABLE} to a secret that both sites know, and run all of it again"
        )
    return {"patients": sorted(crossing_mark(patient, key) for patient in patients), "key": _key_mark()}


def refuse_shared_patients(site: str, mine: Iterable[str], other: str, note: Mapping[str, Any]) -> None:
    """Stops if a patient was scanned at both sites.

    Args:
        site: This site.
        mine: Its patients' pseudonyms.
        other: The other site.
        note: What it published, with `patients_note` in it.

    Raises:
        LeakageFound: Names the patients, or says why nobody can know.
    """
    from crossprobe.data.leakage import audit_sites

    if not note.get("patients"):
        raise LeakageFound(f"site {other!r} published no list of patients, so nobody knows whether {site!r} "
                           "shares some; publish again")  # fmt: skip
    if note.get("key") != _key_mark():
        raise LeakageFound(
            f"sites {site!r} and {other!r} have different keys in {KEY_VARIABLE}, so nobody knows whether "
            "they share patients; set the same one at both and run both again"
        )
    known = {crossing_mark(patient, pseudonym_key()): patient for patient in mine}
    audit_sites({site: list(known.values()), other: [known.get(mark, mark) for mark in note["patients"]]})


def _key_mark() -> str:
    return crossing_mark("the key itself", pseudonym_key())


def _client() -> MlflowClient:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def _experiment(client: MlflowClient, settings: ExchangeSettings) -> str:
    """Finds the experiment or makes it; only a server knows where it keeps artifacts."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(settings.experiment)
    if found is not None:
        return str(found.experiment_id)
    remote = client.tracking_uri.startswith(("http:", "https:"))
    folder = (run_context().project or Path.cwd()) / "data/09_tracking/exchange"
    try:
        return str(client.create_experiment(settings.experiment, None if remote else str(folder)))
    except MlflowException:
        # The other site made it at the same moment.
        found = client.get_experiment_by_name(settings.experiment)
        if found is None:
            raise
        return str(found.experiment_id)
