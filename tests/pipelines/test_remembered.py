"""A remembered node is computed once, and again as soon as anything it depends on changes."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.evaluation import nodes as evaluation
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.fusion import nodes as fusion
from crossprobe.pipelines.register import nodes as register
from crossprobe.pipelines.remembered import plain, remembered
from crossprobe.pipelines.reporting import nodes as reporting
from crossprobe.training.settings import RuntimeSettings


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


def test_another_version_of_a_library_is_computed(node, calls, folders, monkeypatch):
    node(table(), checkpoint(), Settings(), folders, "mim")
    monkeypatch.setattr("crossprobe.pipelines.remembered.versions", lambda *names: {"torch": "another"})
    node(table(), checkpoint(), Settings(), folders, "mim")
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("change", "times"),
    [({"workers": 3}, 1), ({"precision": "bf16"}, 1), ({"micro_batch": 2}, 1), ({"channels_last": False}, 2)],
    ids=str,
)
def test_of_the_machine_counts_what_changes_scores(calls, folders, change, times):
    @remembered()
    def scores(runtime: RuntimeSettings, folders: Folders) -> pd.DataFrame:
        calls.append("scored")
        return table()

    scores(RuntimeSettings(device="cpu"), folders)
    scores(RuntimeSettings(device="cpu", **change), folders)
    assert len(calls) == times


NODES = (
    evaluation.score_arm,
    fusion.score_fused,
    reporting.choose_without_labels,
    reporting.measure_calibration,
    register.calibrate_reading,
    register.held_out_dsc,
    register.held_out_steadiness,
)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_all_code_that_a_remembered_node_calls_counts(node):
    """Settings are left out here, whose values count, and the decorator."""
    function = node.__wrapped__
    tree = ast.parse(inspect.getsource(function))
    used = [function.__globals__[name.id] for name in ast.walk(tree) if isinstance(name, ast.Name)
            and name.id in function.__globals__]  # fmt: skip
    for line in ast.walk(tree):
        if isinstance(line, ast.ImportFrom):
            used += [getattr(importlib.import_module(line.module), alias.name) for alias in line.names]
    modules = {
        thing.__module__
        for thing in used
        if getattr(thing, "__module__", "").startswith("crossprobe.")
        and not (inspect.isclass(thing) and issubclass(thing, BaseModel))
    } - {remembered.__module__}
    assert "crossprobe.pipelines.model" in modules
    code = register.EXAMINED_CODE if function.__module__ == register.__name__ else evaluation.SCORING_CODE
    counted = (*code, function.__module__)
    missed = [one for one in modules if not any(f"{one}.".startswith(f"{code}.") for code in counted)]
    assert missed == []


@pytest.mark.parametrize(
    "result",
    [{"rows": 2, "share": 0.1}, (pd.DataFrame({"a": [1.5]}), {"why": ""}), tuple([table()] * 11)],
    ids=["data", "table and data", "many tables"],
)
def test_what_comes_back_is_what_was_made(folders, result):
    @remembered()
    def work(folders: Folders):
        return result

    work(folders)
    again = work(folders)
    assert type(again) is type(result)
    parts = (result, again) if isinstance(result, tuple) else ((result,), (again,))
    for made, read in zip(*parts, strict=True):
        if isinstance(made, dict):
            assert read == made
        else:
            pd.testing.assert_frame_equal(read, made)


def test_a_run_killed_while_it_writes_leaves_nothing_that_is_taken(folders, calls, monkeypatch):
    @remembered()
    def work(folders: Folders):
        calls.append("worked")
        return table(), table(2.0)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr("crossprobe.pipelines.remembered.shutil.rmtree", lambda *_args, **_named: None)
        with pytest.raises(KeyboardInterrupt):
            work(folders)
    assert [path.suffix for path in folders.results.iterdir()] == [".draft"]
    assert len(work(folders)) == 2
    assert calls == ["worked"] * 2


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
