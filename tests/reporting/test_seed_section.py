"""Trainings side by side: the right figure under the right seed, and nothing where there was one training."""

from __future__ import annotations

import pandas as pd
import pytest

from crossprobe.evaluation.label_free import CRITERIA
from crossprobe.pipelines.reporting.nodes import as_repeat, regret_of_choice
from crossprobe.reporting.report import render_report
from crossprobe.reporting.seed_section import ONE_SEED_LIMIT, seeds_section
from crossprobe.reporting.wording import number

SHIFTS = (0.0, 0.03, -0.06)


@pytest.fixture
def trained_thrice(make_frames):
    """The study of one training, and twice more with all target scores of MIM shifted."""
    frames = make_frames()
    repeats = []
    for seed, shift in enumerate(SHIFTS):
        moved = (frames["arm"] == "mim") & (frames["site"] == "target") & (frames["metric"] == "dsc")
        repeats.append(frames.assign(value=frames["value"] + shift * moved, seed=seed))
    return pd.concat(repeats, ignore_index=True)


def test_each_training_under_its_seed(trained_thrice, make_inputs, study):
    section = seeds_section(make_inputs(trained_thrice))
    _note, means, differences, *_ = section.blocks
    assert means.columns == ("seed 0", "seed 1", "seed 2", "mean", "spread")
    once = study.row("mim")["mean"]
    expected = [once + shift for shift in SHIFTS]
    row = next(row for row in means.rows if row.heading == "MIM")
    spread = pd.Series(expected).std()
    assert [cell.text for cell in row.cells] == [
        number(value) for value in (*expected, sum(expected) / 3, spread)
    ]
    still = next(row for row in means.rows if row.heading == "Source only")
    assert still.cells[-1].text == number(0.0)
    change = next(row for row in differences.rows if row.heading == "MIM")
    start = once - study.row("source_only")["mean"]
    assert [cell.text for cell in change.cells[:3]] == [number(start + shift, sign=True) for shift in SHIFTS]
    assert "Source only" not in [row.heading for row in differences.rows]


def test_intervals_and_the_page_hold_the_seeds(trained_thrice, make_inputs, study):
    inputs = make_inputs(trained_thrice)
    wide, plain = inputs.row("mim"), study.row("mim")
    assert wide["n_seeds"] == 3
    assert wide["high"] - wide["low"] > plain["high"] - plain["low"]
    page = render_report(inputs)
    assert "interval over patients and training seeds" in page
    assert ONE_SEED_LIMIT not in page


def test_one_training_is_a_limit_and_no_section(study):
    assert seeds_section(study) is None
    page = render_report(study)
    assert ONE_SEED_LIMIT in page
    assert "training seeds" not in page.replace(ONE_SEED_LIMIT, "")


def test_a_repeat_is_called_by_the_name_of_its_arm():
    scores = pd.DataFrame({"arm": ["fused_seed_2_average", "fused_seed_2_entropy"], "value": [0.1, 0.2]})
    renamed = as_repeat(scores, "fused", 2)
    assert renamed["arm"].tolist() == ["fused_average", "fused_entropy"]
    assert renamed["seed"].tolist() == [2, 2]
    assert as_repeat(scores.assign(arm="mim"), "mim", 0)["arm"].tolist() == ["mim", "mim"]


def test_regret_is_that_of_the_trainings_that_were_chosen_among():
    patients = pd.DataFrame(
        {"arm": ["a", "b"] * 2, "seed": [0, 0, 1, 1], "site": "target", "patient": "p", "metric": "dsc",
         "value": [0.5, 0.7, 0.9, 0.1]}
    )  # fmt: skip
    label_free = pd.DataFrame(
        {"arm": ["a", "b"], "chosen": [True, False], **{key: [0.3, 0.2] for key in CRITERIA}}
    )
    table = regret_of_choice(label_free, patients)
    assert table["regret"].max() == pytest.approx(0.2)
