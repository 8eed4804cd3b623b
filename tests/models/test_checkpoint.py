"""Checkpoints on disk, and loading that fails closed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.fusion.predictor import Predictor
from crossprobe.models.checkpoint import Checkpoint, load_weights, rebuild
from crossprobe.models.transunet import TransUNet, TransUNetConfig
from crossprobe.training.runtime import resolve
from crossprobe.training.settings import RuntimeSettings

CONFIG = {"width": 4}


def _tiny() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_weights_config_and_provenance_return(tmp_path):
    weights = dict(_tiny().state_dict())
    weights["turned"] = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    weights["view"] = torch.rand(6)[1::2]
    weights["half"] = torch.rand(3).bfloat16()
    weights["same"] = weights["half"]
    provenance = {"stage": "mim", "seed": 3, "patients": ["a"]}
    Checkpoint(weights, CONFIG, provenance).save(tmp_path / "new" / "folder")

    read = Checkpoint.load(tmp_path / "new" / "folder")
    assert (read.config, read.provenance) == (CONFIG, provenance)
    assert read.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert read.weights[name].dtype == value.dtype
        assert torch.equal(read.weights[name], value), name


def test_a_second_save_replaces_the_first_and_leaves_no_litter(tmp_path):
    for seed in (1, 2):
        Checkpoint({"a": torch.full((2,), float(seed))}, CONFIG, {"seed": seed}).save(tmp_path)
    read = Checkpoint.load(tmp_path)
    assert (read.provenance["seed"], read.weights["a"].tolist()) == (2, [2.0, 2.0])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("dies_at", [0, 1])
def test_a_save_that_dies_leaves_the_old_checkpoint(tmp_path, monkeypatch, dies_at):
    Checkpoint({"a": torch.ones(2)}, CONFIG, {}).save(tmp_path)
    replaced = []

    def replace(source: Path, target: Path) -> None:
        if len(replaced) == dies_at:
            raise OSError("power is gone")
        replaced.append(target)
        os.replace(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="power"):
        Checkpoint({"a": torch.zeros(2)}, CONFIG, {}).save(tmp_path)
    assert Checkpoint.load(tmp_path).weights["a"].tolist() == [1.0, 1.0]


def _flip_last_byte(folder: Path) -> None:
    path = next(folder.glob("weights-*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _other_format(folder: Path) -> None:
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "other 7"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "checkpoint.json").unlink(), "holds no checkpoint.json"),
        (lambda folder: next(folder.glob("weights-*")).unlink(), "not a whole checkpoint"),
        (lambda folder: (folder / "checkpoint.json").write_text("{"), "not a whole checkpoint"),
        (lambda folder: (folder / "checkpoint.json").write_text("{}"), "not a whole checkpoint"),
        (_flip_last_byte, "is damaged"),
        (_other_format, "format 'other 7'"),
    ],
)
def test_damage_is_found(tmp_path, damage, message):
    Checkpoint({"a": torch.ones(2)}, CONFIG, {}).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(CrossprobeError, match=message):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("weights", "config", "message"),
    [
        ({}, {}, "without weights"),
        ({"a.b": torch.tensor([1.0, float("nan")])}, {}, "a.b holds NaN"),
        ({"a": torch.ones(1)}, {"path": Path("x")}, "plain JSON"),
        ({"a": torch.ones(1)}, {"loss": float("nan")}, "plain JSON"),
    ],
)
def test_what_cannot_be_kept_is_not_written(tmp_path, weights, config, message):
    with pytest.raises(CrossprobeError, match=message):
        Checkpoint(weights, config).save(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_missing_weights_raise_and_change_nothing():
    source, target = _tiny().state_dict(), _tiny()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    del source["2.bias"]
    with pytest.raises(CoverageError, match=r"8 of 9 keys filled .*1 missing: 2\.bias.*needed: 100"):
        load_weights(target, source)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())

    report = load_weights(target, source, minimum_coverage=0.8)
    assert report.missing == ("2.bias",)
    assert report.coverage == pytest.approx(8 / 9)
    assert torch.equal(target.state_dict()["0.weight"], source["0.weight"])


def test_a_mismatched_shape_is_named_and_counts_as_unfilled():
    source = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5)).state_dict()
    with pytest.raises(CoverageError, match=r"2 mismatched: 2\.weight \[5, 4\] for \[2, 4\]"):
        load_weights(_tiny(), source)
    assert load_weights(_tiny(), source, 0.7).matched[0] == "0.weight"


def test_left_over_weights_raise_unless_allowed():
    source = dict(_tiny().state_dict(), extra=torch.ones(1))
    with pytest.raises(CoverageError, match="1 unexpected: extra"):
        load_weights(_tiny(), source, 0.5)
    assert load_weights(_tiny(), source, allow_unexpected=True).unexpected == ("extra",)


def test_the_names_of_data_parallel_training_do_not_match_silently():
    source = {f"module.{name}": value for name, value in _tiny().state_dict().items()}
    with pytest.raises(CoverageError, match=r"0 of 9 keys.*another architecture or form"):
        load_weights(_tiny(), source, 0.01, allow_unexpected=True)
    assert load_weights(_tiny(), source, prefix="module.").coverage == 1.0
    with pytest.raises(
        CoverageError, match=r"none of the 9 weights begins with 'encoder\.'; the first: module\.0"
    ):
        load_weights(_tiny(), source, prefix="encoder.")


def test_another_size_of_the_architecture_says_so():
    wide = TransUNet(TransUNetConfig.mini(64, width=64)).state_dict()
    with pytest.raises(CoverageError, match="another size of the architecture"):
        load_weights(TransUNet(TransUNetConfig.mini(64)), wide, 0.9)


def test_a_deeper_checkpoint_is_not_cut_down_in_silence():
    deep = TransUNet(TransUNetConfig.mini(64, depth=6)).state_dict()
    with pytest.raises(CoverageError, match=r"24 unexpected: encoder\.transformer\.layers\.4"):
        load_weights(TransUNet(TransUNetConfig.mini(64)), deep, 0.9)


@pytest.mark.parametrize("coverage", [0.0, 1.1])
def test_a_coverage_that_demands_nothing_is_refused(coverage):
    with pytest.raises(CrossprobeError, match="must lie in"):
        load_weights(_tiny(), _tiny().state_dict(), coverage)


def test_a_model_that_was_not_trained_is_kept_as_such_and_never_taken_for_one(tmp_path):
    Checkpoint.without_weights("no labelled frame").save(tmp_path)
    read = Checkpoint.load(tmp_path)
    assert read.left_out
    assert not Checkpoint({"a": torch.ones(2)}, CONFIG).left_out
    with pytest.raises(CrossprobeError, match="not trained: no labelled frame"):
        Predictor.from_checkpoints([read], resolve(RuntimeSettings(device="cpu")))


class _WithTable(nn.Module):
    """Has a buffer that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("table", torch.arange(3.0), persistent=False)


@pytest.mark.parametrize(
    "make",
    [lambda: TransUNet(TransUNetConfig.mini(image_size=64)), _WithTable, lambda: nn.BatchNorm2d(4)],
    ids=["transunet", "table", "norm"],
)
def test_a_rebuilt_module_is_the_one_that_was_saved(make):
    saved = make()
    state = torch.random.get_rng_state()
    found = rebuild(make, saved.state_dict())
    if not isinstance(saved, _WithTable):
        assert torch.equal(torch.random.get_rng_state(), state), "no weights were drawn to be thrown away"
    for (name, value), (other, own) in zip(
        [*saved.named_parameters(), *saved.named_buffers()],
        [*found.named_parameters(), *found.named_buffers()],
        strict=True,
    ):
        assert name == other
        assert torch.equal(value, own)


def test_a_module_is_not_rebuilt_from_weights_of_another():
    with pytest.raises(CoverageError, match="shapes differ"):
        rebuild(lambda: nn.Linear(3, 2), nn.Linear(2, 2).state_dict())
