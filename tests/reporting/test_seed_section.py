"""Trainings side by side: the right figure under the right seed, and nothing where there was one training."""

from __future__ import annotations

import pandas as pd
import pytest

from crossprobe.evaluation.comparison_settings import ArmRoles, Family, StatisticsSettings
from crossprobe.pipelines.reporting.nodes import as_repeat, compare_arms
from crossprobe.pipelines.reporting.settings import ComparisonSettings
from crossprobe.reporting.report import render_report
from crossprobe.reporting.seed_section import ONE_SEED_LIMIT, seeds_section
from crossprobe.reporting.summary import ONE_TRAINING
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


def test_each_training_in_its_column(trained_thrice, make_inputs, study):
    section = seeds_section(make_inputs(trained_thrice))
    _note, means, differences, *_ = section.blocks
    assert means.columns == ("training 1", "training 2", "training 3", "mean", "spread")
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
    assert "Every arm was trained 3 times" in page


def test_one_training_is_a_limit_and_no_section(study):
    assert seeds_section(study) is None
    page = render_report(study)
    assert ONE_SEED_LIMIT in page
    assert ONE_TRAINING in page
    assert "Training seeds" not in page.replace(ONE_SEED_LIMIT, "")


def test_a_repeat_is_called_by_the_name_of_its_arm():
    scores = pd.DataFrame({"arm": ["fused_seed_2_average", "fused_seed_2_entropy"], "value": [0.1, 0.2]})
    renamed = as_repeat(scores, "fused", 2)
    assert renamed["arm"].tolist() == ["fused_average", "fused_entropy"]
    assert renamed["seed"].tolist() == [2, 2]
    assert as_repeat(scores.assign(arm="mim"), "mim", 0)["arm"].tolist() == ["mim", "mim"]


def test_repeats_of_fused_arms_find_each_other(make_frames):
    """From tables of one arm, repeat and site each, as the pipeline hands them over."""
    frames = make_frames({"fused_average": (0.8, 0.7), "fused_two_average": (0.8, 0.6), "mim": (0.8, 0.5)})
    scores, seeds = [], []
    for arm in ("mim", "fused", "fused_two"):
        own = frames["arm"] == ("mim" if arm == "mim" else f"{arm}_average")
        for repeat in range(2):
            for site in ("source", "target"):
                table = frames[own & (frames["site"] == site)]
                name = f"{arm}_seed_{repeat}" if repeat else arm
                table = table.assign(arm=name + table["arm"].str.removeprefix(arm))
                scores.append(table.assign(value=table["value"] + 0.01 * repeat))
                seeds.append((arm, repeat))
    # An arm that was left out hands over tables without rows.
    scores += [scores[0].iloc[:0]] * 2
    seeds += [("target_supervised", 0), ("target_supervised", 1)]
    settings = ComparisonSettings(
        statistics=StatisticsSettings(resamples=100),
        families=(Family(name="all", against=("mim",)),),
        roles=ArmRoles(baseline="mim"),
    )
    patients, arms, tests, *_ = compare_arms(settings, *scores, seeds=seeds)
    assert list(dict.fromkeys(arms["arm"])) == ["mim", "fused_average", "fused_two_average"]
    assert set(arms["n_seeds"]) == {2}
    dsc = patients.query("metric == 'dsc' and site == 'target'").pivot_table(
        index="arm", columns="seed", values="value"
    )
    assert (dsc[1] - dsc[0]).to_numpy() == pytest.approx(0.01, abs=2e-3)
    assert tests["arm"].tolist() == ["fused_average", "fused_two_average"]
