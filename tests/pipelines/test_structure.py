"""The graph keeps the two sites apart, and every stage can be read from left to right."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.project import find_pipelines, pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from crossprobe.data.split import SplitSettings, split_patients
from crossprobe.errors import InvalidMetadata, LeakageFound
from crossprobe.pipelines.arms import read_arms, repeated
from crossprobe.pipelines.classification.arms import read_classifiers
from crossprobe.pipelines.data_processing.nodes import audit_sites
from crossprobe.pipelines.finetuning.nodes import training_settings
from crossprobe.pipelines.finetuning.settings import FinetuningSettings

PROJECT = Path(__file__).resolve().parents[2]
PIXELS = ("frames", "labelled_frames", "raw", "recordings")
LABELS = ("labelled_frames",)
SITES = ("source", "second_source", "target")


@pytest.fixture(scope="module")
def registered():
    bootstrap_project(PROJECT)
    pipelines.configure("crossprobe.pipeline_registry")
    found = find_pipelines(raise_errors=True)
    assert {"cross_domain", "ablations", "seeds", "pretraining", "finetuning"} <= set(found)
    return found


def sites_of(names, kinds):
    pairs = (name.split(".") for name in names if name.count(".") == 1)
    return {site for site, kind in pairs if site in SITES and kind in kinds}


ENVIRONMENTS = ("base", "test", "busbra", "busbra_full", "busi", "paper")
STUDIES = ("breast", "breast_in_domain", "transfer", "fetal")


def pooling_arms():
    """Training nodes that may open several sites, each with the data it may open there.

    The one documented exception: domain-adversarial arms see unlabelled images of the target beside labelled
    ones of the source, and an arm that learns from several labelled sources sees those. Both are for sites
    that may pool images.
    """
    allowed = {}
    for study in STUDIES:
        for name, arm in read_classifiers(study).arms.items():
            if len(arm.pools) > 1:
                opened = {f"{site}.labelled_frames" for site in arm.labels_of}
                opened |= {"target.frames"} if arm.adapt == "dann" else set()
                allowed[f"classify.{study}.{name}.train"] = opened
    return allowed


def test_no_node_opens_pixels_of_both_sites_but_for_the_arms_that_pool(registered):
    pooling = {}
    for pipeline in registered.values():
        for node in pipeline.nodes:
            if len(sites_of([*node.inputs, *node.outputs], PIXELS)) > 1:
                opened = {name for name in node.inputs if name.rpartition(".")[2] in PIXELS}
                pooling[node.name] = opened
    assert pooling == pooling_arms()
    for arm in ("dann", "dann_unreversed"):
        assert pooling[f"classify.breast.{arm}.train"] == {"source.labelled_frames", "target.frames"}
    assert pooling["classify.breast.multi_source.train"] == {
        "source.labelled_frames",
        "second_source.labelled_frames",
    }
    assert len(pooling) == 3


def test_no_two_sites_of_a_run_share_a_patient(registered):
    """Every pipeline with data of several sites compares the splits of all of them."""
    for name in ("cross_domain", "data_processing", "breast"):
        nodes = registered[name].nodes
        dealt = {node.outputs[0] for node in nodes if node.short_name == "split"}
        (audit,) = (node for node in nodes if node.short_name == "audit_sites")
        assert set(audit.inputs) == dealt
        assert len(dealt) > 1
    assert "second_source.split" in dealt


def test_a_patient_of_the_second_source_in_the_target_stops_the_run():
    splits = {
        site: split_patients(
            pd.DataFrame({"patient": patients, "class": "a", "labelled": True}),
            SplitSettings(fractions={"train": 0.5, "test": 0.5}),
            site,
        ).model_dump(mode="json")
        for site, patients in (
            ("source", ["p_1", "p_2"]),
            ("target", ["p_3", "p_4"]),
            ("second_source", ["p_4", "p_5"]),
        )
    }
    with pytest.raises(LeakageFound, match=r"sites 'target' and 'second_source' share 1 patients \(p_4\)"):
        audit_sites(*splits.values(), sites=tuple(splits))


def test_classifiers_learn_target_labels_only_where_the_table_says_so(registered):
    readers = {
        node.name
        for study in ("breast", "transfer", "fetal")
        for node in registered[study].nodes
        if "target.labelled_frames" in node.inputs and node.name.rpartition(".")[2] in ("train", "calibrate")
    }
    assert readers == {
        "classify.breast.target_supervised.train",
        "classify.breast.target_supervised.calibrate",
        "classify.breast.source_few_labels.train",
        "classify.breast.dann_few_labels.train",
    }


def test_only_the_reference_trains_on_target_labels(registered):
    readers = {
        node.name
        for pipeline in registered.values()
        for node in pipeline.nodes
        if "target" in sites_of(node.inputs, LABELS)
    }
    training = {name for name in readers if name.startswith(("pretrain.", "finetune."))}
    reference = [repeated("target_supervised", repeat) for repeat in range(read_arms("seeds").repeats)]
    assert training == {f"finetune.{arm}.{node}" for arm in reference for node in ("train", "calibrate")}


def test_label_free_choice_depends_on_no_target_label(registered):
    """Walks all ancestors of the choice: frames with labels of the target, and scores, are not among them."""
    upstream = registered["cross_domain"].to_outputs("report.cross_domain.label_free")
    read = {name for node in upstream.nodes for name in node.inputs}
    assert "target.frames" in read
    assert "target.labelled_frames" not in read
    assert not any(name.startswith("evaluate.") for name in read)


def test_what_leaves_a_site_is_weights_metrics_and_hashes(registered):
    """Every data set that one site's nodes make and the other site's nodes read."""
    nodes = registered["cross_domain"].nodes
    site_of_node = {node.name: sites_of(node.inputs, PIXELS) for node in nodes}
    crossing = set()
    for maker in nodes:
        for reader in nodes:
            if {*site_of_node[maker.name]} ^ {*site_of_node[reader.name]} == {"source", "target"}:
                crossing |= set(maker.outputs) & set(reader.inputs)
    assert crossing
    kinds = {name.rsplit(".", 1)[-1] for name in crossing}
    assert kinds <= {"encoder", "checkpoint", "calibration", "split"}


def test_every_node_has_a_name_and_every_stage_a_namespace(registered):
    for node in registered["cross_domain"].nodes:
        assert node.namespace or node.name == "audit_sites"
        assert " " not in node.name


def test_main_job_and_ablations_share_their_common_arms(registered):
    main = {node.name for node in registered["cross_domain"].nodes}
    ablations = {node.name for node in registered["ablations"].nodes}
    assert {"pretrain.mim.train", "finetune.mt_nxent.train"} <= main & ablations
    assert {
        "pretrain.gap_longer.train",
        "finetune.temperature_01.train",
        "finetune.label_shuffle.train",
    } <= ablations


def test_seeds_are_the_main_jobs_arms_and_each_repeat_keeps_to_itself(registered):
    main = {node.name: node for node in registered["cross_domain"].nodes}
    seeds = {node.name: node for node in registered["seeds"].nodes}
    # The first training of every arm is the main job's; the page is another, and nothing is registered.
    assert {name for name in main if name.startswith(("pretrain.", "finetune.", "evaluate."))} <= set(seeds)
    assert not [name for name in seeds if name.startswith("register.")]
    for repeat in (1, 2):
        again = f"_seed_{repeat}"
        assert f"pretrain.mim{again}.encoder" in seeds[f"finetune.mim{again}.train"].inputs
        assert "params:studies.cross_domain.finetuning.mim" in seeds[f"finetune.mim{again}.train"].inputs
        fused = seeds[f"evaluate.fused{again}.fuse_target"]
        branches = {name for name in fused.inputs if name.startswith("finetune.")}
        assert branches
        assert all(again in name for name in branches)
    scored = {name for name in seeds["report.seeds.compare_arms"].inputs if name.endswith("target_scores")}
    assert len(scored) == 3 * len(
        {name for name in main["report.cross_domain.compare_arms"].inputs if name.endswith("target_scores")}
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (
            {"studies": {"cross_domain": {"finetuning": {"late": {"start": "random"}, "mim": {"seed": 3}}}}},
            r"^studies\.cross_domain\.finetuning\.late: not so in .*studies\.yml",
        ),
        (
            {"studies": {"ablations": {"finetuning": {"mim": {"start": "simclr"}}}}},
            r"^studies\.ablations\.finetuning\.mim\.start: not so",
        ),
        ({"studies": {"seeds": {"repeats": 5}}}, r"^studies\.seeds\.repeats: not so"),
        (
            {"breast": {"arms": {"late": {}}, "ensembles": {"two": {}}}},
            r"^breast\.arms\.late, breast\.ensembles",
        ),
    ],
    ids=["added", "another start", "more repeats", "classifier"],
)
def test_arms_outside_the_table_stop_a_run_at_its_start(registered, given, named):
    with (
        KedroSession.create(PROJECT, env="test", runtime_params=given) as session,
        pytest.raises(InvalidMetadata, match=named),
    ):
        session.load_context()


def test_what_an_environment_may_say_of_an_arm(registered):
    given = {"studies": {"cross_domain": {"finetuning": {"source_only": {"start": "imagenet", "seed": 5}}}}}
    with KedroSession.create(PROJECT, env="test", runtime_params=given) as session:
        arm = session.load_context().params["studies"]["cross_domain"]["finetuning"]["source_only"]
    assert (arm.start, arm.seed) == ("imagenet", 5)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_all_finetuning_arms_of_a_study_get_the_same_steps(registered, env):
    with KedroSession.create(PROJECT, env=env) as session:
        parameters = session.load_context().params
    stage = parameters["finetuning"]
    for study in ("cross_domain", "ablations"):
        arms = parameters["studies"][study]["finetuning"]
        # As many labelled frames as the paper has: of the source, and of the target.
        frames = {"source": 16_865, "target": 2_206}
        steps = {
            name: training_settings(stage, arm).total_steps(frames[arm.site]) for name, arm in arms.items()
        }
        assert {arm.site for arm in arms.values()} == set(frames)
        assert len(set(steps.values())) == 1, steps
        if env == "paper":
            assert set(steps.values()) == {round(200 * frames["source"] / stage.training.batch_size)}


def test_a_budget_in_epochs_would_not_match_the_arms():
    rate = {"name": "sgd", "learning_rate": 1.0}
    with pytest.raises(ValueError, match="give `steps`, not `epochs`"):
        FinetuningSettings.model_validate({"training": {"epochs": 3, "batch_size": 8, "optimiser": rate}})


LAYERS = (
    "raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting",
    "registry",
)  # fmt: skip


@pytest.mark.parametrize("name", ["cross_domain", "breast", "transfer", "fetal"])
def test_the_picture_runs_from_left_to_right(registered, name):
    """kedro-viz draws no layers at all where one arrow points from a later layer to an earlier one."""
    pipeline = registered[name]
    with KedroSession.create(PROJECT, env="test") as session:
        catalog = session.load_context().catalog
        layers = {
            data: LAYERS.index((catalog.get(data).metadata or {})["kedro-viz"]["layer"])
            for data in pipeline.datasets()
            if not data.startswith("param")
        }
    backwards = [
        (given, made)
        for node in pipeline.nodes
        for given in node.inputs
        for made in node.outputs
        if layers.get(given, 0) > layers[made]
    ]
    assert backwards == []


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_environment_fits_the_models_of_the_parameters(registered, env):
    with KedroSession.create(PROJECT, env=env) as session:
        parameters = session.load_context().params
    assert parameters["model"].config().image_size == parameters["source"]["frames"].size
    for study in STUDIES:
        for arm in parameters[study]["arms"].values():
            changes = {block: getattr(arm, block) for block in ("model", "training", "augment", "dann")}
            parameters[study]["training"].for_arm(changes, arm.seed)
    if env == "paper":
        mim, contrastive = parameters["pretraining"]["mim"], parameters["pretraining"]["contrastive"]
        assert (mim.training.epochs, mim.training.batch_size, mim.masking.mask_ratio) == (1200, 128, 0.6)
        assert (contrastive.training.epochs, contrastive.training.batch_size) == (400, 512)
        assert parameters["model"].config().width == 768
        assert parameters["studies"]["ablations"]["pretraining"]["gap_longest"].frame_gap == 30
