"""Two sites that share an MLflow server and nothing else: neither opens a file of the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
# Notes every file that Python opens and every folder it lists, then runs crossprobe as a command would.
WATCHED = """
import atexit, sys
seen = set()
def watch(event, arguments):
    path = arguments[0] if event in ("open", "os.listdir", "os.scandir", "sqlite3.connect") else None
    if isinstance(path, (str, bytes)):
        seen.add(path.decode(errors="replace") if isinstance(path, bytes) else path)
sys.addaudithook(watch)
log = sys.argv.pop(1)
atexit.register(lambda: open(log, "w").write("\\n".join(sorted(seen))))
from kedro.framework.cli import main
main()
"""


# Fewer arms than the project has: one of each kind.
STUDY = {
    "pretraining": {"mim": {"method": "mim"}},
    "finetuning": {
        "source_only": {"start": "random"},
        "mim": {"start": "mim"},
        "target_supervised": {"start": "random", "site": "target"},
    },
    "fusion": {"fused": {"branches": ["source_only", "mim"]}},
}
STUDIES = {"cross_domain": STUDY, "ablations": STUDY, "seeds": {"of": "cross_domain", "repeats": 2}}


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
               "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]  # fmt: skip
    # Without the server's own workers for jobs that nobody sends it.
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=quiet, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text())
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def site(folder: Path) -> Path:
    folder.mkdir()
    for name in ("conf", "pyproject.toml"):
        origin = PROJECT / name
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, folder / name)
    shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conf/base/parameters/studies.yml").write_text(yaml.safe_dump({"studies": STUDIES}))
    return folder


def run(folder: Path, pipeline: str, server: str, other: list[Path]) -> str:
    """Runs a pipeline at a site and checks what it opened; gives its output."""
    log = folder.parent / f"opened by {pipeline}.txt"
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "CROSSPROBE_TEST_DATA": str(folder / "data"),
        "MLFLOW_TRACKING_URI": server,
        "CROSSPROBE_TEST_TRACKING": server,
        "CROSSPROBE_SALT": "one key for both sites",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", WATCHED, str(log), "run", "--env=test", f"--pipeline={pipeline}",
               "--params=runtime.workers=1"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    opened = log.read_text().splitlines()
    assert [path for path in opened if path.startswith(str(folder / "data"))]
    for foreign in (*other, folder.parent / "server"):
        assert not [path for path in opened if path.startswith(str(foreign))], foreign
    return done.stdout + done.stderr


def no_patient_and_no_path_is_on(server: Path, sites: list[Path]) -> None:
    """Reads everything that was uploaded, the database included."""
    files = [path for path in server.rglob("*") if path.is_file() and path.name != "log"]
    uploaded = {path: path.read_bytes() for path in files}
    assert any(path.name == "note.json" for path in uploaded)
    assert any(path.name.startswith("mlflow.db") for path in uploaded)
    for path, content in uploaded.items():
        # Pseudonyms of patients, videos and operators.
        assert not re.findall(rb"\b[pvo]_[0-9a-f]{12}\b", content), path
        assert not [site for site in sites if f"{site}/".encode() in content], path
    tables = [pd.read_csv(path) for path in uploaded if path.suffix == ".csv"]
    assert not [table for table in tables if {"patient", "video", "item", "path"} & set(table.columns)]


@pytest.mark.timeout(3000)
def test_weights_cross_and_nothing_else(tmp_path, server):
    target, source = tmp_path / "target", tmp_path / "source"
    away = tmp_path / "away"
    site(target)
    run(target, "target_site", server, [source, away])
    # The other site's folder is not merely left alone: it is not there.
    target.rename(away)
    site(source)
    run(source, "source_site", server, [target, away])
    assert not (source / "data/01_raw/phantom/target").exists()
    source.rename(tmp_path / "gone")
    away.rename(target)
    run(target, "target_site_evaluate", server, [source, tmp_path / "gone"])
    assert not (target / "data/01_raw/phantom/source").exists()

    results = pd.read_csv(target / "data/08_reporting/two_sites/results.csv")
    dice = results[results["metric"] == "dsc"].set_index(["site", "arm"])["mean"]
    arms = {"source_only", "mim"}
    assert {arm for where, arm in dice.index if where == "source"} >= arms
    arms |= {"target_supervised", "fused_entropy"}
    assert {arm for where, arm in dice.index if where == "target"} >= arms
    assert dice.between(0, 1).all()
    lineage = json.loads((target / "data/06_models/exchange/received_models.json").read_text())
    made = json.loads((target / "data/06_models/exchange/encoders.json").read_text())
    assert lineage["encoders"] == made["run"]
    no_patient_and_no_path_is_on(tmp_path / "server", [target, source])
    # What lies on the server: weights, notes, tables and parameters, and no picture or array of frames.
    kinds = {file.suffix for file in (tmp_path / "server/artifacts").rglob("*") if file.is_file()}
    assert ".safetensors" in kinds
    assert kinds <= {".safetensors", ".json", ".csv", ".yml"}
