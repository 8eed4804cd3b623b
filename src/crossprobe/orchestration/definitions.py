"""The schedule in Dagster: a sensor on the landing folders, a nightly run, and one op a stage.

Started by `make dagster`. Every op is a Kedro session of its own, so the stages, their parameters and their
records in MLflow are those of `kedro run`. Settings come from variables: CROSSPROBE_ENV (configuration
environment), CROSSPROBE_CRON (02:00 every night), CROSSPROBE_SENSOR_SECONDS, CROSSPROBE_RETRIES,
CROSSPROBE_PROJECT.
"""

# No postponed annotations here: Dagster reads the types of arguments when an op is defined.
import json
import os
from pathlib import Path
from typing import Any

from dagster import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RetryPolicy,
    RunRequest,
    ScheduleDefinition,
    SensorEvaluationContext,
    SkipReason,
    in_process_executor,
    job,
    op,
    sensor,
)
from pydantic import BaseModel

from crossprobe.data.ledger import LedgerSettings

PROJECT = Path(os.environ.get("CROSSPROBE_PROJECT", Path.cwd())).resolve()
ENVIRONMENT = os.environ.get("CROSSPROBE_ENV") or None
CRON = os.environ.get("CROSSPROBE_CRON", "0 2 * * *")
SENSOR_SECONDS = int(os.environ.get("CROSSPROBE_SENSOR_SECONDS", "60"))
# Stages of a training, in order. Each is skipped inside where its inputs, parameters and code did not change.
PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
ORDER = ("data_processing", "pretraining", "finetuning", "evaluation", "fusion", "reporting", "register")
STAGES = tuple(name for name in ORDER if (PIPELINES / name).is_dir())
RETRIES = RetryPolicy(max_retries=int(os.environ.get("CROSSPROBE_RETRIES", "2")), delay=30)
SITES = ("source", "target")


def run_stage(pipeline: str, **selection: Any) -> None:
    """Runs one pipeline in a Kedro session.

    Args:
        pipeline: Its name.
        selection: Which part of it.
    """
    from crossprobe.pipelines.session import run_pipeline

    run_pipeline(PROJECT, pipeline, ENVIRONMENT, **selection)


def _decision() -> dict[str, Any]:
    from crossprobe.pipelines.session import load

    return load(PROJECT, ENVIRONMENT, "arrivals.decision")


def _settings() -> tuple[dict[str, Path], LedgerSettings]:
    """Landing folders by site, and the ledger's settings."""
    from crossprobe.pipelines.data_processing.settings import RawSettings
    from crossprobe.pipelines.session import load_settings

    wanted: dict[str, type[BaseModel]] = {
        **{f"{site}.raw": RawSettings for site in SITES},
        "ledger": LedgerSettings,
    }
    *raw, ledger = load_settings(PROJECT, ENVIRONMENT, wanted)
    return {site: each.folder for site, each in zip(SITES, raw, strict=True)}, ledger


@op(
    out={"due": Out(dict, is_required=False), "quiet": Out(dict, is_required=False)},
    retry_policy=RETRIES,
    description="Takes in what is new and decides whether to train again.",
)
def ingest(context: OpExecutionContext):
    """Runs the pipeline `arrivals` up to its decision; the output says which way it goes on."""
    run_stage("arrivals", to_outputs=["arrivals.decision"])
    decision = _decision()
    context.log.info(f"arrivals: {decision['reason']}")
    yield Output(decision, "due" if decision["retrain"] else "quiet")


def _stage(name: str) -> Any:
    @op(name=name, ins={"before": In(Nothing)}, out=Out(Nothing), retry_policy=RETRIES,
        description=f"Runs the pipeline `{name}`.")  # fmt: skip
    def stage(context: OpExecutionContext) -> None:
        from crossprobe.pipelines.training_lock import training_lock

        ledger = _settings()[1]
        with training_lock(ledger, ledger.lock_wait_seconds):
            run_stage(name)

    return stage


@op(
    ins={"before": In(Nothing)}, retry_policy=RETRIES, description="Records that the training has ended well."
)
def conclude(context: OpExecutionContext, decision: dict) -> None:
    """Puts the training on record, so that the same data are not trained on again."""
    from crossprobe.pipelines.arrivals.nodes import record_training

    record_training(_settings()[1], decision)


@job(executor_def=in_process_executor, description="Ingest, decide, and train again if it is due.")
def arrivals():
    """One op a stage, one after the other: they share the processor and the catalog."""
    due, _ = ingest()
    done: Any = due
    for name in STAGES:
        done = _stage(name)(before=done)
    conclude(before=done, decision=due)


@sensor(
    job=arrivals,
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Asks for a run when the content of a landing folder is not what the last run saw.",
)
def landing_folders(context: SensorEvaluationContext):
    """Compares the landing folders with what was there before.

    The run key is the number of ingestions so far and the hash of all names and contents, so one state of the
    folders is asked for once, and a folder that returns to an earlier state is not mistaken for done.
    """
    from crossprobe.orchestration.landing import content_hash, look
    from crossprobe.pipelines.ledger import open_ledger

    folders, settings = _settings()
    try:
        landing = look(folders)
    except OSError as error:
        return SkipReason(f"{error.filename}: {error.strerror}; is it mounted? Looked at again next time")
    known = json.loads(context.cursor) if context.cursor else {}
    if known.get("glance") == landing.glance:
        return SkipReason("nothing new")
    if 0 <= landing.youngest_s < settings.settle_seconds:
        return SkipReason(
            f"the last file was written {landing.youngest_s:.0f} s ago and may still be growing"
        )
    with open_ledger(settings) as ledger:
        content = content_hash(landing, folders, ledger.hashes())
        count = ledger.runs()
    context.update_cursor(json.dumps({"glance": landing.glance, "content": content}))
    if known.get("content") == content:
        return SkipReason("files were touched, their content is the same")
    return RunRequest(run_key=f"{count}-{content[:32]}", tags={"crossprobe/content": content[:32]})


nightly = ScheduleDefinition(
    name="nightly",
    job=arrivals,
    cron_schedule=CRON,
    default_status=DefaultScheduleStatus.RUNNING,
    description="A run even if the sensor saw nothing: the rule in days can come due.",
)

definitions = Definitions(jobs=[arrivals], sensors=[landing_folders], schedules=[nightly])
