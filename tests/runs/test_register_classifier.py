"""A finished study of classifiers leaves a model that can be found, checked and used, the same everywhere."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from mlflow import MlflowClient
from mlflow.pyfunc.scoring_server import invocations

from crossprobe.command_line.group import main
from crossprobe.data.video import read_frames
from crossprobe.prediction.package import INDEX
from crossprobe.tracking.registry import Registry

pytestmark = pytest.mark.timeout(1800)
NAME = "crossprobe-wrist-classes"
CHAMPION = f"models:/{NAME}@champion"
PROJECT = Path(__file__).resolve().parents[2]
COLUMNS = ["class", "p_fracture", "p_no_fracture", "confidence", "read"]


@pytest.fixture
def uri(breast) -> str:
    return f"sqlite:///{breast / 'mlflow.db'}"


@pytest.fixture
def in_project(monkeypatch, breast):
    monkeypatch.chdir(PROJECT / "docs")
    monkeypatch.setenv("KEDRO_ENV", "test")


@pytest.fixture
def clip(breast) -> Path:
    return next((breast / "01_raw/phantom/target/videos").glob("*.avi"))


def command(*given: str) -> None:
    main(*given, standalone_mode=False)


def load(name: str):
    with KedroSession.create(PROJECT, env="test") as session:
        return session.load_context().catalog.load(name)


def test_the_first_version_is_champion_and_says_why(uri):
    decision = load("register.breast.decision")
    assert (decision["passed"], decision["version"], decision["champion"]) == (True, 1, 1)
    assert {check["name"] for check in decision["checks"]} == {"reload", "source level", "latency"}
    row = Registry(uri, NAME).rows()[-1]
    assert row.tags["arm"] == "source_only"
    assert row.tags["split.source"] == load("source.split")["hash"]
    assert {"score.source_balanced_accuracy", "score.target_balanced_accuracy"} <= set(row.tags)
    assert load("register.breast.reload")["largest_difference"] < 1e-5


def test_the_model_says_what_it_is_and_holds_no_pickle(uri, tmp_path):
    folder = mlflow.artifacts.download_artifacts(
        artifact_uri=MlflowClient(uri).get_model_version_download_uri(NAME, "1"),
        dst_path=str(tmp_path),
        tracking_uri=uri,
    )
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {"", ".json", ".md", ".py", ".safetensors", ".txt", ".yaml"}
    card = next(path for path in files if path.name == "model_card.md").read_text().replace("\n", " ")
    assert "A triage aid at most, not a diagnosis" in card
    assert "efficientnet_b0" in card
    assert "No target image took part" in card
    index = json.loads(next(path for path in files if path.name == INDEX).read_text())
    assert index["classes"] == ["fracture", "no_fracture"]
    assert list(index["provenance"]["sites"]) == ["source"]
    assert (
        index["branches"][0]["temperature"] == load("classify.breast.source_only.calibration")["temperature"]
    )
    requirements = next(path for path in files if path.name == "requirements.txt").read_text()
    assert "timm==" in requirements
    assert [column.name for column in mlflow.models.Model.load(folder).signature.outputs] == COLUMNS


@pytest.mark.usefixtures("in_project")
def test_pyfunc_http_and_command_line_give_one_answer(uri, clip, tmp_path, capsys):
    command("predict", str(clip), "--model", CHAMPION, "--output", str(tmp_path / "out"), "--device", "cpu")
    assert "fracture" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out/frames.csv")
    whole = pd.read_csv(tmp_path / "out/files.csv").iloc[0]
    assert not list((tmp_path / "out").rglob("*.png"))
    assert whole[["p_fracture", "p_no_fracture"]].sum() == pytest.approx(1, abs=2e-6)
    pictures = [cv2.imencode(".png", frame)[1].tobytes() for _, frame in read_frames(clip)]
    given = {"image": [base64.b64encode(picture).decode() for picture in pictures], "clip": "one"}
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(CHAMPION)
    answer = model.predict(pd.DataFrame(given))
    body = json.dumps({"dataframe_records": pd.DataFrame(given).to_dict("records")})
    response = invocations(body, "application/json", model, model.metadata.get_input_schema())
    assert response.status == 200
    over_http = pd.DataFrame(json.load(io.StringIO(response.response))["predictions"])
    for other in (answer, over_http):
        assert list(other.columns) == COLUMNS
        assert list(other["class"]) == list(table["class"])
        assert list(other["read"]) == list(table["read"].fillna(""))
        assert np.allclose(other["p_fracture"], table["p_fracture"], atol=1e-6)
        assert other["p_fracture"].mean() == pytest.approx(whole["p_fracture"], abs=2e-6)


@pytest.mark.usefixtures("in_project")
def test_a_classifier_is_listed_with_its_own_scores(capsys):
    command("models", "--name", NAME, "--json")
    assert json.loads(capsys.readouterr().out)[-1]["tags"]["gate"] == "passed"
    command("models", "--name", NAME)
    assert "source balanced" in capsys.readouterr().out


def test_running_again_registers_nothing(kedro_run, breast, uri):
    before = len(Registry(uri, NAME).rows())
    kedro_run("breast", namespaces=["register.breast"])
    assert len(Registry(uri, NAME).rows()) == before
    assert not load("register.breast.decision")["new"]
