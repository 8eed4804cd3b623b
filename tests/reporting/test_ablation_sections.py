"""Ablation tables: the right arm in the right row, the best one strong, claims beside and not instead."""

from __future__ import annotations

import pandas as pd
import pytest

from crossprobe.reporting.ablation_sections import AblationTable, ablation_section
from crossprobe.reporting.wording import UNMEASURED


def arms() -> pd.DataFrame:
    rows = [
        {"arm": arm, "site": site, "metric": metric, "mean": mean, "low": mean - 0.1, "high": mean + 0.1,
         "n_patients": 7, "baseline_difference": mean - 0.5, "baseline_low": -0.2, "baseline_high": 0.3}
        for site, shift in (("target", 0.0), ("source", 0.2))
        for arm, mean in (("cold", 0.61 + shift), ("warm", 0.64 + shift))
        for metric in ("dsc", "iou")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_rows_figures_and_claims():
    table = AblationTable(title="Heat", arms={"low": "cold", "high": "warm"}, claimed={"high": 0.7})
    section = ablation_section(arms(), [table])
    block, note = section.blocks
    assert [row.heading for row in block.rows] == ["low", "high"]
    assert block.rows[0].cells[0].text.startswith(".610") or block.rows[0].cells[0].text.startswith("0.610")
    assert [row.cells[0].strong for row in block.rows] == [False, True]
    assert "0.700" in block.rows[1].cells[3].text or ".700" in block.rows[1].cells[3].text
    assert "700" not in block.rows[0].cells[3].text
    assert block.rows[0].cells[-1].text == "7"
    assert "Claimed" in note.text


def test_an_arm_that_was_not_scored_is_an_error():
    with pytest.raises(KeyError, match="tepid"):
        ablation_section(arms(), [AblationTable(title="Heat", arms={"middle": "tepid"})])


def test_an_arm_that_was_left_out_has_no_row():
    table = AblationTable(title="Heat", arms={"low": "cold", "middle": "tepid"})
    [block] = ablation_section(arms(), [table], left_out=["tepid"]).blocks
    assert [row.heading for row in block.rows] == ["low"]


def test_without_target_labels_there_is_no_table():
    table = AblationTable(title="Heat", arms={"low": "cold"})
    [block] = ablation_section(arms().query("site == 'source'"), [table]).blocks
    assert block.text == UNMEASURED
