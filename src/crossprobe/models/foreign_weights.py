"""Reads weight files made elsewhere, without ever running what is inside them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from crossprobe.errors import CrossprobeError
from crossprobe.models.public_format import strip_data_parallel

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Reads a state dict from a file.

    Args:
        path: ``.safetensors``, a ``.pth``, ``.pt`` or ``.bin`` of PyTorch (tensors only: pickled code is
            refused), or ``.npz``. A dict of dicts is searched under the usual names (``state_dict`` …).

    Returns:
        Tensors on the CPU by name, without the ``module.`` of data-parallel training.

    Raises:
        CrossprobeError: The file is missing, of another kind, damaged, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CrossprobeError(f"weights file {path} not found: give the path of a downloaded file")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        elif path.suffix in _TORCH_SUFFIXES:
            content = torch.load(path, map_location="cpu", weights_only=True)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            known = ", ".join((".safetensors", *_TORCH_SUFFIXES, ".npz"))
            raise CrossprobeError(f"weights file {path} is of an unknown kind; expected {known}")
    except pickle.UnpicklingError as error:
        raise CrossprobeError(
            f"{path} holds more than tensors and was not opened: save its state_dict() alone"
        ) from error
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        if isinstance(error, CrossprobeError):
            raise
        raise CrossprobeError(f"weights file {path} cannot be read ({error}): download it again") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise CrossprobeError(f"{path} holds no state dict but a {type(content).__name__}")
    odd = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise CrossprobeError(f"{path} holds entries that are no tensors: {', '.join(odd[:3])}")
    return strip_data_parallel({str(name): value for name, value in content.items()})
