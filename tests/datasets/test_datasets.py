"""What the catalog saves it gives back; versions stay apart; nothing is half-written."""

from __future__ import annotations

import base64

import pytest
import torch
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure

from crossprobe.datasets.checkpoint_dataset import CheckpointDataset
from crossprobe.datasets.figure_dataset import FigureDataset
from crossprobe.datasets.frame_store_dataset import FrameStoreDataset
from crossprobe.datasets.package_dataset import PackageDataset
from crossprobe.datasets.page_dataset import PageDataset
from crossprobe.models.checkpoint import Checkpoint
from small_model import small_package


def checkpoint(value: float) -> Checkpoint:
    return Checkpoint({"weight": torch.full((2, 3), value)}, {"form": "segmenter"}, {"seed": 1})


def test_checkpoints_keep_their_versions(tmp_path):
    path = str(tmp_path / "encoder")
    for version, value in (("2026-01-01", 1.0), ("2026-01-02", 2.0)):
        CheckpointDataset(filepath=path, version=Version(None, version)).save(checkpoint(value))
    newest = CheckpointDataset(filepath=path, version=Version(None, None)).load()
    oldest = CheckpointDataset(filepath=path, version=Version("2026-01-01", None)).load()
    assert torch.equal(newest.weights["weight"], torch.full((2, 3), 2.0))
    assert torch.equal(oldest.weights["weight"], torch.full((2, 3), 1.0))
    assert oldest.provenance == {"seed": 1}
    assert not list(tmp_path.rglob("*.pkl"))


def test_a_checkpoint_that_is_not_there(tmp_path):
    dataset = CheckpointDataset(filepath=str(tmp_path / "none"), version=Version(None, None))
    assert not dataset.exists()
    with pytest.raises(DatasetError):
        dataset.load()


def test_a_figure_comes_back_as_its_picture(tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    dataset = FigureDataset(filepath=str(tmp_path / "deep/chart.png"))
    assert not dataset.exists()
    dataset.save(figure)
    assert dataset.load()[:8] == b"\x89PNG\r\n\x1a\n"
    assert base64.b64decode(dataset.preview()) == dataset.load()
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["chart.png"]


def test_a_page_has_versions_and_a_newest_copy(tmp_path):
    path = str(tmp_path / "report.html")
    for version, text in (("v1", "<p>one</p>"), ("v2", "<p>two</p>")):
        PageDataset(filepath=path, version=Version(None, version)).save(text)
    assert (tmp_path / "report.html").read_text() == "<p>two</p>"
    assert PageDataset(filepath=path, version=Version("v1", None)).load() == "<p>one</p>"
    assert PageDataset(filepath=path, version=Version(None, None)).load() == "<p>two</p>"


def test_a_page_without_versions(tmp_path):
    dataset = PageDataset(filepath=str(tmp_path / "report.html"))
    assert not dataset.exists()
    dataset.save("<p>one</p>")
    assert dataset.load() == "<p>one</p>"
    assert not PageDataset(filepath=str(tmp_path / "other.html"), version=Version(None, None)).exists()


class Store:
    """Stands for a frame store: the data set only points at it."""

    def __init__(self, path, labels):
        self.path, self.labels, self.fingerprint = path, labels, "f" * 64

    def __len__(self):
        return 5


def test_an_entry_that_promises_labels_needs_them(tmp_path):
    dataset = FrameStoreDataset(filepath=str(tmp_path / "a/labelled.json"), labels=True)
    with pytest.raises(DatasetError, match=r"labelled\.json promises labels"):
        dataset.save(Store(tmp_path / "store", labels=False))
    assert not dataset.exists()


def test_the_pointer_is_relative_so_that_a_project_can_move(tmp_path):
    dataset = FrameStoreDataset(filepath=str(tmp_path / "a/frames.json"), labels=False)
    dataset.save(Store(tmp_path / "stores/1234", labels=True))
    assert '"../stores/1234"' in (tmp_path / "a/frames.json").read_text()
    assert dataset.exists()


def test_a_package_is_kept_by_content_and_checked_on_loading(tmp_path):
    entry = PackageDataset(filepath=str(tmp_path / "package.json"))
    assert not entry.exists()
    entry.save(small_package())
    first = entry.load()
    entry.save(small_package(seed=1))
    assert entry.load().index.fingerprint() != first.index.fingerprint()
    assert first.folder.is_dir()
    weights = next(entry.load().folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="damaged"):
        entry.load()
