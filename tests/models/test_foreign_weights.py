"""Weight files made elsewhere."""

from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.torch
import torch

from crossprobe.errors import CrossprobeError
from crossprobe.models.foreign_weights import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "npz"])
def test_each_kind_is_read(tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(WEIGHTS, path)
    elif suffix == "npz":
        np.savez(path, **{name: value.numpy() for name, value in WEIGHTS.items()})
    else:
        torch.save(WEIGHTS, path)
    read = read_weights(path)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_and_data_parallel_files_are_unwrapped(tmp_path, wrapper):
    content = {wrapper: {f"module.{name}": value for name, value in WEIGHTS.items()}, "epoch": 3}
    torch.save(content, tmp_path / "last.pth")
    assert read_weights(tmp_path / "last.pth").keys() == WEIGHTS.keys()


class _Malice:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_code_is_never_run(tmp_path):
    victim = tmp_path / "made_by_pickle"
    torch.save({"a": torch.ones(1), "b": _Malice(str(victim))}, tmp_path / "evil.pth")
    with pytest.raises(CrossprobeError, match="holds more than tensors"):
        read_weights(tmp_path / "evil.pth")
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "not found"),
        ("weights.h5", b"x", "unknown kind"),
        ("weights.safetensors", b"x" * 40, "cannot be read"),
        ("weights.npz", b"x" * 40, "cannot be read"),
    ],
)
def test_unusable_files_say_what_to_do(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CrossprobeError, match=message):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(("content", "message"), [([1, 2], "no state dict"), ({"lr": 0.1}, "no tensors: lr")])
def test_what_is_no_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CrossprobeError, match=message):
        read_weights(tmp_path / "odd.pt")
