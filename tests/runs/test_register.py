"""A finished run leaves a model that can be found, checked and used, the same way everywhere."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from crossprobe.command_line.group import main
from crossprobe.data.video import read_frames
from crossprobe.prediction.package import INDEX
from crossprobe.tracking.registry import Registry

NAME = "crossprobe-wrist"
CHAMPION = f"models:/{NAME}@champion"
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def uri(finished_run) -> str:
    return f"sqlite:///{finished_run / 'mlflow.db'}"


@pytest.fixture
def in_project(monkeypatch, finished_run):
    monkeypatch.chdir(PROJECT / "docs")
    monkeypatch.setenv("KEDRO_ENV", "test")


def command(*given: str) -> None:
    main(*given, standalone_mode=False)


@pytest.fixture
def clip(finished_run) -> Path:
    return next((finished_run / "01_raw/phantom/target/videos").glob("*.avi"))


def predicted(clip: Path, folder: Path, *options: str) -> list[np.ndarray]:
    """Masks that the command line writes."""
    command("predict", str(clip), "--output", str(folder), "--device", "cpu", *options)
    output = pd.read_csv(folder / "files.csv")["output"][0]
    return [cv2.imread(str(path), 0) for path in sorted((folder / output / "masks").iterdir())]


def request(frames: list[np.ndarray], **more) -> pd.DataFrame:
    pictures = [base64.b64encode(cv2.imencode(".png", frame)[1].tobytes()).decode() for frame in frames]
    return pd.DataFrame({"image": pictures, **more})


def masks_of(answer: pd.DataFrame) -> list[np.ndarray]:
    return [
        cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
        for text in answer["mask"]
    ]


def test_the_first_version_is_champion_and_says_why(catalog, uri):
    decision = catalog.load("register.cross_domain.decision")
    assert decision["passed"]
    assert (decision["version"], decision["champion"]) == (1, 1)
    assert {check["name"] for check in decision["checks"]} == {
        "reload", "source level", "target findings", "latency",
    }  # fmt: skip
    row = Registry(uri, NAME).rows()[-1]
    assert row.tags["gate"] == "passed"
    assert row.tags["split.source"] == catalog.load("source.split")["hash"]
    assert row.tags["data.target"] == catalog.load("target.frames").fingerprint
    assert "n=" in row.tags["score.source_dsc"]


def test_the_reloaded_model_is_the_trained_one(catalog):
    reload = catalog.load("register.cross_domain.reload")
    assert reload["frames"] == 2
    assert reload["largest_difference"] < 1e-5


def test_the_logged_model_is_whole_and_holds_no_pickle(uri, tmp_path):
    client = MlflowClient(uri)
    version = client.get_model_version(NAME, "1")
    folder = mlflow.artifacts.download_artifacts(
        artifact_uri=client.get_model_version_download_uri(NAME, "1"),
        dst_path=str(tmp_path),
        tracking_uri=uri,
    )
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    allowed = {"", ".css", ".html", ".j2", ".json", ".md", ".py", ".safetensors", ".txt", ".typed", ".yaml"}
    assert {path.suffix for path in files} <= allowed
    card = next(path for path in files if path.name == "model_card.md").read_text()
    index = json.loads(next(path for path in files if path.name == INDEX).read_text())
    assert "A triage aid at most, not a diagnosis" in card.replace("\n", " ")
    assert index["provenance"]["sites"]["source"]["split_hash"][:16] in card
    assert "source_only" in card
    assert version.run_id == index["run"]
    requirements = next(path for path in files if path.name == "requirements.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in requirements)
    assert any(line.startswith("torch==") for line in requirements)
    model = mlflow.models.Model.load(folder)
    assert [column.name for column in model.signature.inputs] == ["image", "clip", "spacing_mm"]
    assert model.saved_input_example_info is not None


def test_running_again_registers_nothing(kedro_run, finished_run, uri, catalog):
    before = len(Registry(uri, NAME).rows())
    kedro_run("register")
    assert len(Registry(uri, NAME).rows()) == before
    assert not catalog.load("register.cross_domain.decision")["new"]


@pytest.mark.usefixtures("in_project")
def test_models_are_listed_for_people_and_for_programs(capsys):
    command("models", "--reasons")
    shown = capsys.readouterr().out
    assert "champion" in shown
    assert "holds: reload" in shown
    command("models", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert listed[-1]["version"] == 1
    assert len(listed[-1]["tags"]["data.source"]) == 64


@pytest.mark.usefixtures("in_project")
def test_pyfunc_and_command_line_give_one_mask(uri, clip, tmp_path):
    frames = [frame for _, frame in read_frames(clip)]
    by_command = predicted(clip, tmp_path / "out", "--spacing-mm", "0.2")
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(CHAMPION)
    answer = model.predict(request(frames, clip="one", spacing_mm=0.2))
    assert len(by_command) == len(frames) > 3
    assert all(np.array_equal(a, b) for a, b in zip(by_command, masks_of(answer), strict=True))
    assert np.mean(by_command) not in (0.0, 255.0)
    table = pd.read_csv(tmp_path / "out/frames.csv")
    assert np.allclose(answer["area_mm2"], table["area_mm2"], atol=0.01)
    assert list(answer["read"]) == list(table["read"].fillna(""))


@pytest.mark.usefixtures("in_project")
def test_a_path_in_a_request_is_not_read(uri, clip):
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(CHAMPION)
    for image in (str(clip), clip.as_uri()):
        with pytest.raises(mlflow.MlflowException, match="image: "):
            model.predict(pd.DataFrame({"image": [image]}))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def server(uri, tmp_path):
    """`mlflow models serve`, bound to this machine only."""
    port = free_port()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "src"), environment.get("PYTHONPATH", "")])
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    log = tmp_path / "server.log"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local",
             "--host", "127.0.0.1", "--port", str(port)],
            stdout=said, stderr=said, env=environment, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def ask(url: str, content: object) -> tuple[int, dict]:
    body = json.dumps(content).encode()
    sent = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(sent, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


@pytest.mark.usefixtures("in_project")
def test_http_and_command_line_give_one_mask(server, clip, tmp_path):
    frames = [frame for _, frame in read_frames(clip)]
    by_command = predicted(clip, tmp_path / "out")
    table = request(frames, clip="one")
    status, answer = ask(server, {"dataframe_records": table.to_dict("records")})
    assert status == 200
    masks = masks_of(pd.DataFrame(answer["predictions"]))
    assert all(np.array_equal(a, b) for a, b in zip(by_command, masks, strict=True))
    status, answer = ask(server, {"dataframe_records": [{"image": "/etc/passwd"}]})
    assert status == 400
    assert "image: " in answer["message"]
    assert "root:" not in json.dumps(answer)
    assert str(PROJECT) not in json.dumps(answer)


def test_no_name_of_a_patient_is_in_the_registry_or_the_model(finished_run):
    names = pd.read_csv(finished_run / "01_raw/phantom/target/metadata.csv")["patient"].astype(str).unique()
    places = [finished_run / "mlflow.db", *(finished_run / "artifacts/models").rglob("*.json")]
    places += (finished_run / "06_models/packages").rglob("*.json")
    assert len(places) > 5
    for place in places:
        content = place.read_bytes()
        assert not [name for name in names if f'"{name}"'.encode() in content], place
