"""A remembered node is computed once, and again as soon as anything it depends on changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.remembered import plain, remembered


class Settings(BaseModel):
    threshold: float = 0.5


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(frames=tmp_path / "frames", progress=tmp_path / "progress", results=tmp_path / "results")


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def node(calls):
    @remembered("crossprobe.data.geometry")
    def scores(
        table: pd.DataFrame, checkpoint: Checkpoint, settings: Settings, folders: Folders, arm_name: str
    ) -> pd.DataFrame:
        calls.append(arm_name)
        return table.assign(arm=arm_name, weight=float(checkpoint.weights["w"].float().sum()))

    return scores


def table(value: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"frame": [1, 2], "value": [value, 2.0]})


def checkpoint(value: float = 1.0, dtype: torch.dtype = torch.float32) -> Checkpoint:
    return Checkpoint({"w": torch.full((3,), value, dtype=dtype)}, {"form": "test"})


def test_the_second_call_is_not_computed_and_says_so(node, calls, folders, caplog):
    first = node(table(), checkpoint(), Settings(), folders, "mim")
    with caplog.at_level("INFO"):
        again = node(table(), checkpoint(), Settings(), folders, arm_name="mim")
    pd.testing.assert_frame_equal(first, again)
    assert calls == ["mim"]
    assert "nothing it depends on has changed" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"table": table(3.0)},
        {"checkpoint": checkpoint(2.0)},
        {"checkpoint": checkpoint(dtype=torch.bfloat16)},
        {"settings": Settings(threshold=0.4)},
        {"arm_name": "simclr"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_is_computed(node, calls, folders, change):
    given = {"table": table(), "checkpoint": checkpoint(), "settings": Settings(), "arm_name": "mim"}
    node(**given, folders=folders)
    node(**(given | change), folders=folders)
    assert len(calls) == 2


def test_changed_code_is_computed(node, calls, folders, monkeypatch):
    node(table(), checkpoint(), Settings(), folders, "mim")
    monkeypatch.setattr("crossprobe.pipelines.remembered.code_hash", lambda *modules: "another")
    node(table(), checkpoint(), Settings(), folders, "mim")
    assert len(calls) == 2


def test_a_failed_computation_leaves_nothing(folders):
    @remembered()
    def broken(folders: Folders) -> pd.DataFrame:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        broken(folders)
    assert not folders.results.exists()


def test_the_stamped_name_counts(node, calls, folders):
    for arm in ("mim", "simclr", "mim"):
        bound(node, arm_name=arm)(table(), checkpoint(), Settings(), folders)
    assert calls == ["mim", "simclr"]


def test_column_names_count():
    assert plain(table()) != plain(table().rename(columns={"value": "figure"}))
