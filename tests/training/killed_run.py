"""The training run that the kill test kills; a module of its own, for processes find code by name."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from crossprobe.training import progress_file
from crossprobe.training.loop import train
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.settings import TrainingSettings

SAMPLES, STEPS = 24, 240
SETTINGS = TrainingSettings.model_validate({
    "steps": STEPS, "batch_size": 8, "validate_every": 10, "save_every": 4, "seed": 1, "ema_decay": 0.9,
    "optimiser": {"name": "adamw", "learning_rate": 0.02},
})  # fmt: skip


class Line:
    """Fits a line with dropout and batch norm, so that random state and buffers matter."""

    figure = "error"

    def __init__(self, steps) -> None:
        torch.manual_seed(3)
        self.x = torch.randn(SAMPLES, 4)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 1
        self.module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.sampler = ShuffledSampler(SAMPLES, SETTINGS.batch_size, SETTINGS.seed)
        self.steps = steps

    def loss(self, batch: Batch):
        self.steps.value += 1
        time.sleep(0.001)
        return (self.module(self.x[batch.rows]).squeeze(1) - self.y[batch.rows]).square().mean(), {}

    def validate(self, size):
        return {"error": float((self.module(self.x).squeeze(1) - self.y).square().mean())}


def run(folder: str, steps, saving) -> None:
    """Trains to the end, or until somebody kills this process.

    Args:
        folder: Where the state lies.
        steps: Shared counter of steps computed.
        saving: Shared counter of saves begun.
    """
    torch.set_num_threads(1)
    real = progress_file.save_file

    def slow(tensors, path, metadata):
        # Half a file lies there for a while, as on a slow disk.
        if saving.value == 1:
            path.write_bytes(b"half")
            saving.value += 1
            time.sleep(0.02)
        real(tensors, path, metadata)
        saving.value += 1

    progress_file.save_file = slow
    result = train(Line(steps), SETTINGS, SAMPLES, Path(folder), "a" * 64)
    result.history.to_csv(Path(folder) / "history.csv", index=False)
