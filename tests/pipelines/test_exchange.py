"""What sites hand over about their patients: enough to notice a shared one, and no pseudonym."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from mlflow.tracking import MlflowClient

from crossprobe.errors import CrossprobeError, LeakageFound
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines import exchange
from crossprobe.pipelines.exchange import ExchangeSettings
from crossprobe.pipelines.ledger import KEY_VARIABLE
from crossprobe.pipelines.source_site.nodes import fetch_encoders
from crossprobe.pipelines.target_site.nodes import publish_encoders

PATIENTS = ["p_0123456789ab", "p_abcdef012345"]
SETTINGS = ExchangeSettings()


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def server(empty_database, tmp_path, monkeypatch):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_experiment(SETTINGS.experiment, (tmp_path / "artifacts").as_uri())
    monkeypatch.setattr(exchange, "_client", lambda: client)
    monkeypatch.setenv(KEY_VARIABLE, "one key for both sites")
    return tmp_path


def publish(kind: str = "wrist", patients: list[str] = PATIENTS) -> None:
    encoder = Checkpoint({"w": torch.zeros(2)}, {}, {})
    split = {"hash": "h", "parts": {"train": patients[:1], "test": patients[1:]}}
    publish_encoders(SETTINGS, split, {"data": kind, "manifest_hash": "m"}, encoder, names=("mim",))


def fetch(patients: list[str]) -> dict:
    return fetch_encoders(SETTINGS, {"parts": {"train": patients}}, ("mim",))[0]


def test_a_hand_over_holds_no_pseudonym_of_a_patient(server):
    publish()
    for file in (path for path in server.rglob("*") if path.is_file()):
        assert not [patient for patient in PATIENTS if patient.encode() in file.read_bytes()], file
    note = json.loads(next((server / "artifacts").rglob("note.json")).read_text())
    assert len(set(note["patients"])) == 2


def test_a_patient_of_both_sites_is_named_by_the_pseudonym_of_this_one(server):
    publish()
    assert fetch(["p_ffffffffffff"])["split_hash"] == "h"
    with pytest.raises(LeakageFound, match=r"share 1 patients \(p_abcdef012345\)"):
        fetch(["p_ffffffffffff", PATIENTS[1]])


def test_other_keys_are_noticed(server, monkeypatch):
    publish()
    monkeypatch.setenv(KEY_VARIABLE, "another key at this site")
    with pytest.raises(LeakageFound, match=f"different keys in {KEY_VARIABLE}"):
        fetch(["p_ffffffffffff"])


@pytest.mark.parametrize("kind", ["wrist", "image_folder"])
def test_patients_of_a_clinic_are_not_published_under_the_public_key(server, monkeypatch, kind):
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(CrossprobeError, match=f"public key: set {KEY_VARIABLE}"):
        publish(kind)
    assert not list((server / "artifacts").rglob("*"))
    for public in ("phantom", "busbra", "busi", "fetal_planes"):
        publish(public)
