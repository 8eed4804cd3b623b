"""Fixtures of the model tests: weights and images of the reference forward passes, by their recipe."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

START = "transformer."


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def public_weights(golden) -> Callable[[str], dict[str, Tensor]]:
    """Weights under public names, of the form 'segmentation', 'masked_image' or 'contrastive'."""

    def make(form: str) -> dict[str, Tensor]:
        keys = golden("model_keys.json")
        table = _segmentation_weights(keys)
        if form == "masked_image":
            head = {"segmentation_head.0.weight": [3, 16, 3, 3], "segmentation_head.0.bias": [3]}
            return table | {name: _fill(name, shape) for name, shape in head.items()}
        if form == "contrastive":
            extra = json.loads(keys.read_text())["contrastive_extra"]
            encoder = {name.removeprefix(START): table[name] for name in table if name.startswith(START)}
            # The projection head was filled on its own, so its names count without their prefix.
            head = {name: _fill(name.removeprefix("projection_head."), extra[name][0]) for name in extra}
            return encoder | head
        return table

    return make


@pytest.fixture(scope="session")
def reference_images() -> Tensor:
    """The two reference images, [2, 3, 224, 224] in [0, 1], three equal channels."""
    y, x = np.mgrid[0:224, 0:224].astype(np.float64)
    planes = [0.5 + 0.25 * np.sin(x / (11 + 3 * i)) + 0.25 * np.cos(y / (8 + 2 * i)) for i in (0, 1)]
    return torch.from_numpy(np.stack(planes).astype(np.float32))[:, None].repeat(1, 3, 1, 1)


@functools.cache
def _segmentation_weights(keys: Path) -> dict[str, Tensor]:
    table = json.loads(keys.read_text())["state_dict_seg"]
    return {name: _fill(name, shape) for name, (shape, _) in table.items()}


def _fill(name: str, shape: list[int]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        noise = 1 + 0.2 * np.abs(noise)
    elif name.endswith(("running_mean", "position_embeddings")):
        noise = 0.1 * noise
    elif noise.ndim == 4:
        noise = noise * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    elif noise.ndim == 2:
        noise = noise * np.float32(np.sqrt(1 / shape[1]))
    else:
        noise = 1 + 0.1 * noise if name.endswith("weight") else 0.05 * noise
    return torch.from_numpy(noise)
