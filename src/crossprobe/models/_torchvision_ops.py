"""Lets timm import torchvision on machines whose torchvision was compiled for another build of torch.

The registry's torchvision is built against CUDA. Beside a CPU build of torch its compiled operators do not
load, and importing it fails at once with "operator torchvision::nms does not exist", although timm needs none
of them. Declaring the schemas that torchvision registers shape functions for is enough; where the real
operators are there, nothing is done. Import this module before the first import of timm.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a library's schemas vanish when it is collected


def declare_missing_operators() -> bool:
    """Declares torchvision's operators if they cannot be loaded.

    Returns:
        Whether schemas were declared, which means that torchvision's own operators cannot be used.
    """
    if _libraries or _real_operators_load():
        return bool(_libraries)
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS.values():
        library.define(schema)
    _libraries.append(library)
    return True


def _real_operators_load() -> bool:
    # Asked without importing torchvision: a failed import would leave half of it behind.
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return True
    for extension in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
