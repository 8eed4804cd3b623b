"""Ten times the frames take no more memory: neither to audit a split, nor to calibrate on validation frames.

Counted by numpy's own allocations; `tests/prediction/test_memory.py` looks at whole processes.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from crossprobe.data import leakage, near_duplicates
from crossprobe.data.leakage import LeakSettings, audit_split
from crossprobe.data.near_duplicates import duplicate_groups
from crossprobe.data.split import Split
from crossprobe.fusion.predictor import Predictor
from crossprobe.fusion.temperature import TemperatureSettings
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.arms import FinetuningArm
from crossprobe.pipelines.finetuning.nodes import calibrate
from crossprobe.training.settings import RuntimeSettings

SIZE = 64
# Ten times as many frames held would be 20 MB of signatures, and as much of logits and masks.
ALLOWED_MB = 3.0
FEW, MANY = 160, 1600


class DrawnStore:
    """A frame store whose frames are drawn when they are read."""

    size, labels, path = SIZE, True, Path("drawn")

    def __init__(self, count: int) -> None:
        number = np.arange(count)
        self.manifest = pd.DataFrame({
            "patient": [f"p{one // 40}" for one in number], "video": [f"v{one // 10}" for one in number],
            "frame": number % 10, "height": SIZE, "width": SIZE,
        })  # fmt: skip

    def rows(self, patients: list[str], labelled: bool = False) -> np.ndarray:
        return np.flatnonzero(self.manifest["patient"].isin(patients))

    def images(self, rows: np.ndarray) -> np.ndarray:
        return np.stack(
            [np.random.default_rng(row).integers(20, 200, (SIZE, SIZE), dtype=np.uint8) for row in rows]
        )

    def masks(self, rows: np.ndarray) -> np.ndarray:
        return (self.images(rows) > 100).astype(np.uint8)


class Guesser:
    """Answers from the pixels alone, without a network."""

    def logits(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((images[None, :, None].astype(np.float32) - 100) / 40)


def peak_mb(work) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def audit(count: int):
    store = DrawnStore(count)
    patients = sorted(set(store.manifest["patient"]))
    split = Split(site="s", parts={"train": patients[1:], "test": patients[:1]}, seed=0, manifest_hash="m")
    return lambda: audit_split(store, split, LeakSettings())


def group(count: int):
    store = DrawnStore(count)
    return lambda: duplicate_groups(store, LeakSettings(), {"p0"})


def calibration(count: int):
    store = DrawnStore(count)
    split = {"parts": {"val": sorted(set(store.manifest["patient"]))}}
    settings = TemperatureSettings(maximum_pixels=20_000)
    runtime = RuntimeSettings(device="cpu")
    trained = Checkpoint({"weight": torch.zeros(1)}, {}, {})
    return lambda: calibrate(trained, store, split, FinetuningArm(start="random"), settings, runtime)


@pytest.mark.parametrize("work", [audit, group, calibration])
def test_memory_does_not_grow_with_the_number_of_frames(work, monkeypatch):
    for module in (leakage, near_duplicates):
        monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(Predictor, "from_checkpoints", lambda checkpoints, runtime: Guesser())
    work(FEW)()
    few, many = peak_mb(work(FEW)), peak_mb(work(MANY))
    assert many < few + ALLOWED_MB, f"{few:.1f} MB against {many:.1f} MB"
