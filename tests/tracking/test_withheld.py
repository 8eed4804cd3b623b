"""What of the parameters and outputs of a run is recorded, here and on a server elsewhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from crossprobe.tracking.outputs import record
from crossprobe.tracking.withheld import recorded, tracking_is_local

PATIENTS = ["p_0123456789ab", "p_abcdef012345"]
ROWS = pd.DataFrame(
    {"arm": "a", "site": "target", "patient": PATIENTS, "metric": "dsc", "value": [0.5, 0.7], "frame": 0,
     "video": ["v_0123456789ab", "v_abcdef012345"], "device": "d", "view": "w", "operator": "o", "class": "c",
     "reference": "mask"}
)  # fmt: skip


def test_names_of_predicted_files_are_recorded_nowhere():
    given = {"prediction": {"paths": ["/clips/jane.mp4"], "model": "m"}}
    for elsewhere in (False, True):
        assert recorded(given, elsewhere)["prediction"] == {"paths": "(1 named, not recorded)", "model": "m"}
    assert recorded("[/clips/jane.mp4]", False, "prediction.paths") == "(named, not recorded)"
    assert recorded([], False, "prediction.paths") == []


@pytest.mark.parametrize("path", ["/srv/clinic/raw", Path("/srv/clinic/raw"), "landing/raw"])
def test_paths_stay_on_this_machine(path):
    given = {"target": {"raw": {"folder": path, "kind": "wrist"}}, "steps": 3}
    assert recorded(given, False) == given
    kept = recorded(given, True)
    assert "raw" not in kept["target"]["raw"]["folder"]
    assert (kept["target"]["raw"]["kind"], kept["steps"]) == ("wrist", 3)


@pytest.mark.parametrize(
    ("uri", "local"),
    [("sqlite:////srv/mlflow.db", True), ("file:///srv/runs", True), ("https://mlflow.example.org", False),
     ("postgresql://u@h/d", False), ("databricks", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(uri, local):
    assert tracking_is_local(uri) == local


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("scores", ROWS),
        ("headline", ROWS),
        ("table", ROWS),
        ("hashes", {"hash": "f" * 64, "parts": {"test": PATIENTS}, "folder": "/srv/clinic/raw"}),
        ("page", f"<p>{PATIENTS[0]}</p>"),
    ],
)
def test_only_aggregates_are_recorded_elsewhere(uri, tmp_path, kind, value):
    client = MlflowClient(uri)
    artifacts = tmp_path / "artifacts"
    experiment = client.create_experiment("test", artifact_location=artifacts.as_uri())
    run = client.create_run(experiment).info.run_id
    record(client, run, run, kind, "set", value, whole=False)
    assert not [path for path in artifacts.rglob("*") if path.is_file()]
    seen = str(client.get_run(run).data.to_dictionary())
    assert not [word for word in (*PATIENTS, "/srv/clinic", "v_0123") if word in seen]
    data = client.get_run(run).data
    expected = {
        "scores": {"target/a/dsc": 0.6}, "headline": {"target/a/dsc": 0.6}, "table": {"rows/set": 2.0},
        "hashes": {}, "page": {},
    }  # fmt: skip
    assert data.metrics == pytest.approx(expected[kind])
    assert data.tags.get("set.hash") == ("f" * 64 if kind == "hashes" else None)
    record(client, run, run, kind, "set", value)
    assert [path for path in artifacts.rglob("*") if path.is_file()]
