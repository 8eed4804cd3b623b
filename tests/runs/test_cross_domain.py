"""The main job from raw data to the report, on a handful of frames: what lies there, what it says."""

from __future__ import annotations

import json
import os
import re

import pandas as pd
import pytest
from mlflow import MlflowClient

from crossprobe.pipelines.arms import read_arms


def test_every_arm_is_scored_on_both_sites(finished_run, catalog):
    arms = catalog.load("report.cross_domain.arms")
    study = read_arms("cross_domain")
    fused = {f"fused_{name}" for name in ("average", "entropy", "margin", "flip")}
    assert set(arms["arm"]) == set(study.finetuning) | fused
    assert set(arms["site"]) == {"source", "target"}
    dsc = arms[arms["metric"] == "dsc"]
    assert dsc["mean"].between(0, 1).all()
    assert (dsc["n_patients"] >= 1).all()


def test_the_truth_is_scored_beside_the_annotator(catalog):
    metrics = catalog.load("report.cross_domain.metrics")
    assert {"dsc", "dsc_truth", "hd95_mm", "nsd_mm"} <= set(metrics["metric"])


def test_fusion_modes_of_calibrated_branches_give_one_mask(catalog):
    scores = catalog.load("evaluate.fused.target_scores")
    scores = scores[scores["metric"] == "dsc"]
    dsc = scores.pivot_table(index=["video", "frame"], columns="arm", values="value")
    # Alike on the model's grid; on the way to native pixels, interpolation moves a pixel of the border.
    assert (dsc["fused_entropy"] - dsc["fused_margin"]).abs().max() < 1e-3


def test_the_target_offers_no_label_to_pretraining(catalog):
    frames = catalog.load("target.frames")
    assert not frames.labels
    assert "mask_path" not in frames.manifest
    assert catalog.load("target.labelled_frames").labels


def test_finetuned_encoders_start_from_their_pretraining(catalog):
    for arm in ("mim", "simclr", "mt_nxent"):
        encoder = catalog.load(f"pretrain.{arm}.encoder")
        start = catalog.load(f"finetune.{arm}.checkpoint").provenance["start"]
        assert start == {"pretrained": encoder.provenance["identity"], "coverage": 1.0}
    assert catalog.load("finetune.source_only.checkpoint").provenance["start"]["coverage"] == 0.0


def test_the_page_is_whole(finished_run):
    page = (finished_run / "08_reporting/cross_domain/report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    # Tables come back from files that know no empty text.
    assert not re.search(r">\s*nan\s*<", page)
    for words in (
        "MT-NXent",
        "Source only",
        "Target-supervised",
        "What was rejected",
        "Fusion weights",
        "Holm",
    ):
        assert words in page
    split = json.loads(
        next((finished_run / "05_model_input/target/split.json").rglob("split.json")).read_text()
    )
    assert split["hash"][:12] in page


def test_no_name_of_a_patient_leaves_ingestion(finished_run):
    """The phantom numbers its patients T000 …; the metadata has them, nothing downstream may."""
    names = set(pd.read_csv(finished_run / "01_raw/phantom/target/metadata.csv")["patient"].astype(str))
    assert names
    page = (finished_run / "08_reporting/cross_domain/report.html").read_text(encoding="utf-8")
    manifest = pd.read_parquet(finished_run / "03_primary/target/manifest.parquet")
    for name in names:
        assert name not in set(manifest["patient"])
        assert not re.search(rf"\b{re.escape(name)}\b", re.sub(r"base64,[^\"')]*", "", page))


def test_the_pseudonym_key_is_written_nowhere(finished_run):
    secret = os.environ["CROSSPROBE_SALT"].encode()
    readable = [
        file
        for file in finished_run.rglob("*")
        if file.suffix not in (".npy", ".safetensors", ".avi", ".mp4")
    ]
    assert [file for file in readable if file.is_file() and secret in file.read_bytes()] == []


def test_versions_are_kept(finished_run):
    entries = (
        "05_model_input/source/split.json",
        "06_models/finetune/mim/checkpoint",
        "08_reporting/cross_domain/metrics.parquet",
        "08_reporting/cross_domain/versions",
    )
    for entry in entries:
        folder = finished_run / entry
        assert folder.is_dir()
        assert any(folder.iterdir())


def test_mlflow_has_a_nested_run_a_stage_and_arm(finished_run):
    client = MlflowClient(f"sqlite:///{finished_run / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crossprobe-test")
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    # Other pipelines may have run in this session, before or after.
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    parent = next(run for run in reversed(parents) if "target/mim/dsc" in run.data.metrics)
    stages = {
        run.info.run_name: run
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert {
        "source",
        "target",
        "pretrain.mim",
        "finetune.mt_nxent",
        "evaluate.fused",
        "report.cross_domain",
    } <= set(stages)
    assert all(run.info.status == "FINISHED" for run in [parent, *stages.values()])
    assert stages["finetune.mim"].data.params["finetuning.training.optimiser.name"] == "adamw"
    assert stages["finetune.mim"].data.params["studies.cross_domain.finetuning.mim.start"] == "mim"
    curve = client.get_metric_history(stages["pretrain.mim"].info.run_id, "validation/mim_loss")
    assert [point.step for point in curve] == [2, 3]
    assert "target/mim/dsc" in parent.data.metrics
    assert parent.data.tags["target.split.hash"]
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"page.html", "parameters.yml"} <= files


def test_running_again_trains_and_decodes_nothing(kedro_run, finished_run, caplog, monkeypatch):
    from crossprobe.data import frames
    from crossprobe.training import loop

    def forbidden(*given, **also):
        raise AssertionError("work was done again although nothing changed")

    monkeypatch.setattr(loop._Run, "_step", forbidden)
    monkeypatch.setattr(frames, "_results", forbidden)
    before = {file: file.stat().st_mtime_ns for file in (finished_run / "01_raw/phantom").rglob("*.png")}
    kedro_run()
    assert before == {
        file: file.stat().st_mtime_ns for file in (finished_run / "01_raw/phantom").rglob("*.png")
    }


def test_a_misspelt_parameter_stops_before_the_first_node(kedro_run):
    from kedro.validation.exceptions import ParameterValidationError

    with pytest.raises(ParameterValidationError, match=r"(?s)finetuning.*stepps"):
        kedro_run(params={"finetuning": {"training": {"stepps": 3}}})
