"""The table of arms: differences, declared tests and claims in their places."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.arms_table import ArmRoles, arms_table, declared_p
from crossprobe.evaluation.claimed import FRAME_GAP_DSC, TEMPERATURE_DSC, claimed_table, claimed_value
from crossprobe.evaluation.statistics import Family, StatisticsSettings, comparisons

QUICK = StatisticsSettings(resamples=200)


@pytest.fixture
def metrics() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for arm, gain in (("source_only", 0.0), ("mim", 0.05), ("fused_entropy", 0.1)):
        for site in ("target", "source"):
            for patient in range(8):
                base = {"arm": arm, "site": site, "device": "d", "patient": f"{site}{patient}"}
                value = 0.6 + gain + generator.normal(0, 0.01)
                rows += [
                    base | {"metric": "dsc", "value": value},
                    base | {"metric": "hd95_mm", "value": 3 - value},
                ]
    return pd.DataFrame(rows)


def test_rows_and_differences(metrics):
    table = arms_table(metrics, settings=QUICK)
    assert len(table) == 3 * 2 * 2
    assert table["site"].iloc[0] == "source", "the source comes first, whatever the order of rows"
    assert table["arm"].drop_duplicates().tolist() == ["source_only", "mim", "fused_entropy"]
    row = table.query("arm == 'mim' and site == 'target' and metric == 'dsc'").iloc[0]
    values = metrics.query("site == 'target' and metric == 'dsc'").groupby("arm")["value"].mean()
    assert row["mean"] == pytest.approx(values["mim"])
    assert row["baseline_difference"] == pytest.approx(values["mim"] - values["source_only"])
    assert row["fused_difference"] == pytest.approx(values["mim"] - values["fused_entropy"])
    assert row["low"] < row["mean"] < row["high"]
    assert row["n_patients"] == 8
    assert np.isnan(table.query("arm == 'source_only'")["baseline_difference"]).all()


def test_only_declared_tests_carry_a_p(metrics):
    declared = comparisons(metrics, [Family(against=("source_only",))], QUICK)
    table = arms_table(metrics, comparisons=declared, settings=QUICK)
    with_p = table[table["baseline_p_holm"].notna()]
    assert set(zip(with_p["site"], with_p["metric"], strict=True)) == {("target", "dsc")}
    fused = table[table["fused_p_holm"].notna()]
    assert fused["arm"].tolist() == ["source_only"], "a declared pair is found either way round"
    assert np.isnan(declared_p(declared, "mim", "fused_entropy", "target", "dsc"))


def test_claims_stand_beside_ours(metrics):
    table = arms_table(metrics, settings=QUICK).query("metric == 'dsc' and site == 'target'")
    assert table.set_index("arm")["claimed"].to_dict() == {
        "source_only": 0.6605,
        "mim": 0.7116,
        "fused_entropy": 0.7221,
    }
    assert np.isnan(claimed_value("fused_average", "target", "dsc"))
    assert claimed_value("target_supervised", "source", "iou") == 0.5808
    assert claimed_value("mt_nxent", "target", "dsc") == max(FRAME_GAP_DSC.values())
    assert TEMPERATURE_DSC[0.5] == FRAME_GAP_DSC[0] == claimed_value("simclr", "target", "dsc")


def test_claimed_overlaps_are_about_consistent():
    # Means of ratios need not obey IoU = D / (2 - D), but a slip of the pen would break it by more than this.
    table = claimed_table().pivot_table(index=["arm", "site"], columns="metric", values="claimed").dropna()
    assert len(table) == 10
    assert (table["iou"] - table["dsc"] / (2 - table["dsc"])).abs().max() < 0.02


def test_missing_roles_and_single_arm(metrics):
    alone = metrics[metrics["arm"] == "mim"]
    table = arms_table(alone, ArmRoles(fused=None, average=None), settings=QUICK)
    assert table["baseline_difference"].isna().all()
    assert table["fused_difference"].isna().all()
