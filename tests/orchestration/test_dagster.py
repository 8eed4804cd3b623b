"""A live daemon: a clip is dropped, a run takes it in, and the next look skips."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
SECONDS = 600

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
dagster = pytest.importorskip("dagster")


@pytest.fixture
def project(tmp_path):
    """A project whose sites are folders of a clinic, so that clips can be dropped there."""
    from crossprobe.phantom.cohort import generate
    from crossprobe.phantom.settings import PhantomSettings

    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(PROJECT / "conf", folder / "conf")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    test = yaml.safe_load((PROJECT / "conf/test/parameters.yml").read_text())
    phantom = PhantomSettings.model_validate({**test["phantom"], "seed": 2026})
    for site in ("source", "target"):
        generate(phantom, site, folder / "landing" / site, 1)
        test[site]["raw"] = {"kind": "wrist", "folder": str(folder / "landing" / site)}
    # Nothing is due, so a run is an ingestion and a decision.
    test["arrivals"] = {"rule": {"new_patients": 1000, "days": None}}
    (folder / "conf/test/parameters.yml").write_text(yaml.safe_dump(test))
    return folder


@pytest.fixture
def daemon(project, tmp_path):
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(PROJECT / "src/crossprobe/orchestration/dagster.yaml", home)
    variables = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(project / "src"),
        "CROSSPROBE_TEST_DATA": str(project / "data"),
        "CROSSPROBE_ENV": "test",
        "CROSSPROBE_PROJECT": str(project),
        "CROSSPROBE_SENSOR_SECONDS": "2",
        "CROSSPROBE_RETRIES": "0",
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        # The first training is on record, as it is for a clinic at work.
        code = (
            "import os; from pathlib import Path; from crossprobe.orchestration import definitions as d;"
            "from crossprobe.pipelines.arrivals.nodes import record_training;"
            "d.run_stage('arrivals', to_outputs=['arrivals.decision']);"
            "record_training(d._settings()[1], d._decision())"
        )
        subprocess.run([sys.executable, "-c", code], cwd=project, check=True, capture_output=True)
        # Its databases are made before the daemon comes, which would make them at the same moment.
        instance = dagster.DagsterInstance.from_config(str(home))
        instance.get_runs()
        instance.all_instigator_state()
        log = open(tmp_path / "daemon.log", "w")  # noqa: SIM115 - open as long as the daemon
        module = "crossprobe.orchestration.definitions"
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", module]
        process = subprocess.Popen(command, cwd=project, stdout=log, stderr=log, start_new_session=True)
        try:
            yield instance, process, tmp_path / "daemon.log"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
            log.close()


def wait_for(condition, process: subprocess.Popen, log: Path):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = condition()
        if found:
            return found
        time.sleep(1)
    pytest.fail(log.read_text()[-4000:])


def ticks(instance):
    return [tick for state in instance.all_instigator_state() if state.name == "landing_folders"
            for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)]  # fmt: skip


def test_a_dropped_clip_is_taken_in_once(daemon, project):
    from crossprobe.data.ledger import Ledger
    from crossprobe.data.ledger_database import sqlite_url

    instance, process, log = daemon

    def finished(count: int):
        runs = instance.get_runs()
        states = [run.status for run in runs]
        assert dagster.DagsterRunStatus.FAILURE not in states, log.read_text()[-4000:]
        return states == [dagster.DagsterRunStatus.SUCCESS] * count

    wait_for(lambda: finished(1), process, log)
    landing = project / "landing" / "target"
    clip = sorted((landing / "videos").iterdir())[0]
    (landing / "videos" / "dropped ü.avi").write_bytes(clip.read_bytes() + b"\0")
    table = (landing / "metadata.csv").read_text().splitlines()
    row = next(line for line in table if clip.name in line).replace(clip.name, "dropped ü.avi")
    (landing / "metadata.csv").write_text("\n".join([*table, row]) + "\n")
    wait_for(lambda: finished(2), process, log)
    with Ledger(sqlite_url(project / "data" / "ledger.sqlite"), "public-data-only") as ledger:
        rows = ledger.recordings("target")
    assert [row["state"] for row in rows] == ["ingested"] * 7
    seen = max(tick.timestamp for tick in ticks(instance))
    status = dagster._core.scheduler.instigation.TickStatus

    def later():
        return [tick for tick in ticks(instance)
                if tick.timestamp > seen + 2 and tick.status != status.STARTED]  # fmt: skip

    last = wait_for(later, process, log)[0]
    assert last.status == status.SKIPPED
    assert last.skip_reason == "nothing new"
    assert len(instance.get_runs()) == 2
