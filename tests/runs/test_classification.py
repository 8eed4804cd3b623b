"""The three studies of classifiers from raw data to the page, on a handful of frames."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from mlflow import MlflowClient

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.classification.arms import read_classifiers

PROJECT = Path(__file__).resolve().parents[2]

# Three whole jobs: seconds of work a node, but many nodes.
pytestmark = pytest.mark.timeout(1800)


def load(name: str):
    with KedroSession.create(PROJECT, env="test") as session:
        return session.load_context().catalog.load(name)


def test_every_arm_is_scored_on_both_sites(breast):
    arms = load("classify.breast.report.arms")
    expected = {*read_classifiers("breast").arms, "ensemble_average", "ensemble_vote"}
    assert set(arms["arm"]) == expected
    for site in ("source", "target"):
        assert set(arms.loc[arms["site"] == site, "arm"]) == expected
    shares = arms[arms["metric"].isin(["accuracy", "balanced_accuracy"])]["value"]
    assert shares.between(0, 1).all()


def test_every_way_of_answering_is_scored(breast):
    scores = load("classify.breast.report.scores")
    own = scores[scores["arm"] == "dann"]
    assert set(own["answer"]) == {"plain", "calibrated", "tta", "mc_dropout"}


def test_arms_take_the_same_steps_and_say_where_they_start(breast):
    costs = load("classify.breast.report.costs").set_index("arm")
    whole = ["source_only", "dann", "multi_source", "target_supervised"]
    assert set(costs.loc[whole, "training_steps"]) == {3}
    assert set(costs.loc[whole, "start"]) == {"random"}
    assert set(costs.loc[["source_few_labels", "dann_few_labels"], "start"]) == {"arm"}
    images = costs["training_images"]
    assert images["multi_source"] > images["source_only"]
    assert images["dann"] == images["source_only"]
    assert images["dann_few_labels"] <= 16


def test_losses_and_domain_accuracy_are_logged_apart_and_collapse_is_looked_for(breast):
    history = load("classify.breast.dann.history")
    train = set(history.loc[history["part"] == "train", "metric"])
    assert {"label_loss", "domain_loss", "domain_accuracy", "reversal_scale"} <= train
    adaptation = load("classify.breast.report.adaptation")
    assert list(adaptation["arm"]) == ["dann"] * 4 + ["dann_unreversed"] * 4
    assert list(adaptation["moment"]) == ["first", "highest", "kept", "last"] * 2
    control = load("classify.breast.dann_unreversed.history")
    assert set(control.loc[control["metric"] == "reversal_scale", "value"]) == {0.0}
    course, outcome, *of_the_control = load("classify.breast.report.findings")
    assert len(of_the_control) == 2
    assert "domain accuracy on held-out images is" in course
    assert outcome.startswith("DANN less source only, target test: ")
    assert adaptation.filter(like="target_share_").sum(axis=1).round(6).eq(1).all()


def test_a_checkpoint_is_a_classifier_that_can_be_rebuilt(breast):
    checkpoint = load("classify.breast.dann.checkpoint")
    assert checkpoint.config["form"] == "classifier"
    assert checkpoint.config["model"]["backbone"] == "efficientnet_b0"
    assert not any(name.startswith("discriminator") for name in checkpoint.weights)


def test_the_control_deals_images_and_not_patients(breast):
    split = json.loads((breast / "05_model_input/breast_in_domain/image_split.json").read_text())
    manifest = pd.read_parquet(breast / "03_primary/source/manifest.parquet")
    dealt = {video for part in split["parts"].values() for video in part}
    assert split["unit"] == "image"
    assert dealt == set(manifest["video"])
    arms = load("classify.breast_in_domain.report.arms")
    assert set(arms["arm"]) == {"grouped", "by_image"}


def test_the_page_is_whole_and_claims_are_marked(breast):
    page = (breast / "08_reporting/breast/report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    for words in (
        "Adversarial adaptation",
        "claimed 0.900",
        "no pretrained weights were used",
        "may pool",
        "What the arms look at",
        "Confusion matrices",
        "go to an expert",
        "Cost beside accuracy",
    ):
        assert words in page, words


def test_mlflow_has_the_arms_and_their_curves(breast):
    client = MlflowClient(f"sqlite:///{breast / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crossprobe-test")
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    named = {run.info.run_name: run for run in runs}
    stage = named["classify.breast.dann"]
    assert stage.data.params["breast.arms.dann.adapt"] == "dann"
    points = client.get_metric_history(stage.info.run_id, "validation/domain_accuracy")
    assert [point.step for point in points] == [2, 3]
    parent = client.get_run(stage.data.tags["mlflow.parentRunId"])
    assert "target/dann/balanced_accuracy" in parent.data.metrics
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert "page.html" in files


def test_a_target_with_a_class_that_the_source_lacks(kedro_run, breast):
    with pytest.raises(InvalidMetadata, match=r"holds class 'fracture'.*ignore_classes"):
        kedro_run("breast", params={"breast": {"training": {"classes": ["no_fracture", "normal"]}}})


def test_a_misspelt_key_of_an_arm_stops_before_the_first_node(kedro_run, breast):
    from kedro.validation.exceptions import ParameterValidationError

    with pytest.raises(ParameterValidationError, match=r"(?s)dann.*stepps"):
        kedro_run("breast", params={"breast": {"arms": {"dann": {"training": {"stepps": 3}}}}})


@pytest.mark.slow
@pytest.mark.parametrize("study", ["transfer", "fetal"])
def test_every_arm_of_the_zoo_and_every_variation_runs(kedro_run, data_folder, study):
    kedro_run(study)
    table = read_classifiers(study)
    costs = load(f"classify.{study}.report.costs")
    assert set(costs["arm"]) == set(table.arms)
    assert (costs["gflop"] > 0).all()
    assert (costs["training_steps"] > 0).all()
    arms = load(f"classify.{study}.report.arms")
    joined = {f"{name}_{kind}" for name in table.ensembles for kind in ("average", "vote")}
    assert set(arms["arm"]) == {*table.arms, *joined}
    page = (data_folder / f"08_reporting/{study}/report.html").read_text(encoding="utf-8")
    assert "claimed" in page
