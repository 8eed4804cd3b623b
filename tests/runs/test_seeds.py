"""Every arm trained three times: the first trainings are the main job's, and the page tells them apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from mlflow import MlflowClient

from crossprobe.pipelines.arms import read_arms

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_seeds_are_trained_and_set_side_by_side(kedro_run, finished_run, trainings):
    before = trainings()
    kedro_run("seeds")
    after = trainings()
    assert {name: after[name] for name in before} == before
    study = read_arms("seeds")
    arms = len(study.pretraining) + len(study.finetuning)
    assert len(after) - len(before) == arms * (study.repeats - 1)
    metrics = pd.read_parquet(sorted((finished_run / "08_reporting/seeds/metrics.parquet").glob("*/*"))[-1])
    assert set(metrics["seed"]) == set(range(study.repeats))
    one = (
        metrics.query("arm == 'mim' and metric == 'brier' and site == 'target'")
        .groupby("seed")["value"]
        .mean()
    )
    assert one.nunique() == study.repeats
    assert not metrics["arm"].str.contains("seed").any()
    table = pd.read_csv(finished_run / "08_reporting/seeds/arms.csv")
    assert set(table.query("metric == 'dsc'")["n_seeds"]) == {study.repeats}
    with KedroSession.create(PROJECT, env="test") as session:
        catalog = session.load_context().catalog
    for kind, part in (("pretrain", "encoder"), ("finetune", "checkpoint")):
        first, again = (
            catalog.load(f"{kind}.{name}.{part}").provenance["seed"] for name in ("mim", "mim_seed_1")
        )
        assert again == first + 1
    client = MlflowClient(f"sqlite:///{finished_run / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crossprobe-test")
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    repeats = {run.info.run_name: run.data.params.get("repeat") for run in runs}
    assert (repeats["finetune.mim_seed_2"], repeats["pretrain.mim_seed_1"]) == ("2", "1")
    assert repeats["finetune.mim"] is None
    page = (finished_run / "08_reporting/seeds/report.html").read_text(encoding="utf-8")
    assert "Training seeds" in page
    assert "of the same training" in page
