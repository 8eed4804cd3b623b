"""A tiny frame store with bright bars as foreground, and the smallest model that can find them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from crossprobe.models.config import TransUNetConfig
from crossprobe.training.runtime import Runtime

SIZE = 32


class ArrayStore:
    """A frame store in memory, with what the tasks ask of one."""

    def __init__(self, images: np.ndarray, masks: np.ndarray, videos: list[str], frames: list[int]) -> None:
        self._images, self._masks, self.size = images, masks, images.shape[-1]
        self.manifest = pd.DataFrame({"video": videos, "frame": frames})

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        return self._masks[rows]


@pytest.fixture
def store() -> ArrayStore:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (12, SIZE, SIZE), dtype=np.uint8)
    masks = np.zeros((12, SIZE, SIZE), np.uint8)
    for number in range(12):
        top = 4 + 2 * (number % 10)
        masks[number, top : top + 4, 4:28] = 1
    images[masks == 1] += 150
    return ArrayStore(images, masks, ["a"] * 6 + ["b"] * 6, [0, 1, 2, 3, 10, 20] * 2)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(torch.device("cpu"), bf16=False, channels_last=False)


@pytest.fixture
def tiny() -> TransUNetConfig:
    return TransUNetConfig.mini(image_size=SIZE)
