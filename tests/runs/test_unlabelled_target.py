"""A target without labels: the main job goes all the way and says what it could not measure.

One body of data, two runs: first no label at all, then labels of the test part only.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.framework.session import KedroSession

from crossprobe.command_line.group import main
from crossprobe.reporting.wording import NO_ACCURACY, UNMEASURED
from crossprobe.tracking.registry import Registry

PROJECT = Path(__file__).resolve().parents[2]


def text_of(page: str) -> str:
    """What a reader sees: no picture, no tag."""
    page = re.sub(r"(?s)<style.*?</style>|<svg.*?</svg>|base64,[^\"')]*", "", page)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&#39;", "'")


@pytest.fixture(scope="module")
def clinic(kedro_run, data_folder, tmp_path_factory):
    """A place of its own: the phantom's source, and its target as a clinic's folder without labels."""
    folder = tmp_path_factory.mktemp("unlabelled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSPROBE_TEST_DATA", str(folder))
        kedro_run(node_names=["source.collect", "target.collect"])
        target = folder / "01_raw/clinic"
        shutil.move(folder / "01_raw/phantom/target", target)
        (target / "masks").rename(folder / "masks")
        shutil.rmtree(target / "truths")

        def run(**given) -> SimpleNamespace:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                kedro_run(params={"target": {"raw": {"kind": "wrist", "folder": str(target)}}}, **given)
            with KedroSession.create(PROJECT, env="test") as session:
                catalog = session.load_context().catalog
            return SimpleNamespace(
                load=catalog.load,
                terminal=re.sub(r"\s+", " ", said.getvalue()),
            )

        yield SimpleNamespace(folder=folder, target=target, masks=folder / "masks", run=run)


@pytest.fixture(scope="module")
def unlabelled(clinic):
    return clinic.run()


def test_nothing_is_scored_on_the_target_and_everything_on_the_source(unlabelled):
    assert not unlabelled.load("target.manifest")["labelled"].any()
    arms = unlabelled.load("report.cross_domain.arms")
    assert set(arms["site"]) == {"source"}
    fused = {f"fused_{name}" for name in ("average", "entropy", "margin", "flip")}
    assert set(arms["arm"]) == {"source_only", "mim", "simclr", "mt_nxent"} | fused
    assert arms["mean"].notna().any()
    for empty in ("comparisons", "regret", "reliability"):
        assert unlabelled.load(f"report.cross_domain.{empty}").empty
    assert unlabelled.load("evaluate.fused.target_scores").empty
    assert unlabelled.load("finetune.target_supervised.checkpoint").left_out


def test_every_part_of_the_split_has_patients_for_the_labels_that_may_come(unlabelled):
    assert all(unlabelled.load("target.split")["parts"].values())


def test_the_page_says_what_was_not_measured(unlabelled):
    page = text_of(unlabelled.load("report.cross_domain.page"))
    assert page.count(UNMEASURED) == 2  # the summary and the limits
    assert "Target-supervised reference is left out" in page
    assert NO_ACCURACY in page
    assert "Choosing without labels" in page
    assert "Predictions, without a reference" in page
    for absent in ("Target test, n", "test DSC", "target DSC", "Test DSC", "What each rule would have cost"):
        assert absent not in page, absent
    assert not re.search(r"\bnan\b|\bNaN\b|\binf\b", page)


def test_the_terminal_says_it_too(unlabelled):
    assert UNMEASURED in unlabelled.terminal
    assert NO_ACCURACY in unlabelled.terminal
    assert "nan" not in unlabelled.terminal.split("Test DSC")[1].lower()


def test_a_model_is_registered_on_what_is_known_and_predicts(unlabelled, clinic, monkeypatch, tmp_path):
    decision = unlabelled.load("register.cross_domain.decision")
    assert decision["version"] == 1
    registry = Registry(f"sqlite:///{clinic.folder / 'mlflow.db'}", "crossprobe-wrist")
    assert registry.champion() == 1
    card = next((clinic.folder / "artifacts").rglob("model_card.md")).read_text(encoding="utf-8")
    assert UNMEASURED in card
    assert "| target | " not in card.partition("## What it scored")[2]
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("KEDRO_ENV", "test")
    clip = next((clinic.target / "videos").glob("*.avi"))
    main("predict", str(clip), "--output", str(tmp_path / "out"), "--device", "cpu", standalone_mode=False)
    assert len(pd.read_csv(tmp_path / "out/frames.csv")) > 3


def test_labels_of_the_test_part_alone_leave_the_reference_out(unlabelled, clinic):
    """Somebody labels patients of the test part: they stay there, and now there is something to score by."""
    part = unlabelled.load("target.split")["parts"]["test"]
    recordings = unlabelled.load("target.recordings")
    for path in recordings["path"][recordings["patient"].isin(part)]:
        shutil.copytree(clinic.masks / Path(path).stem, clinic.target / "masks" / Path(path).stem)
    labelled = clinic.run(to_outputs=["report.cross_domain.regret", "report.cross_domain.arms"])
    assert labelled.load("target.split")["parts"]["test"] == part
    arms = labelled.load("report.cross_domain.arms")
    assert "target_supervised" not in set(arms["arm"])
    scored = arms[(arms["site"] == "target") & (arms["metric"] == "dsc")]
    assert len(scored) == 8
    assert scored["mean"].between(0, 1).all()
    assert not labelled.load("report.cross_domain.regret").empty
    assert UNMEASURED not in labelled.terminal
