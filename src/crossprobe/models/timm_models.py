"""The one door to timm: no other module imports it, so that torchvision's operators are seen to first.

timm and the torchvision behind it take seconds to import, so they wait until a model is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from crossprobe.errors import CrossprobeError
from crossprobe.models._torchvision_ops import declare_missing_operators


def create_timm_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """Makes a model of timm by name.

    Args:
        name: Architecture, with the weights' tag after a dot: ``vit_base_r50_s16_224.orig_in21k``.
        pretrained: Fetch its weights; this needs a network or timm's local cache.
        options: Anything the architecture takes, for example ``num_classes``.

    Returns:
        The model, in training mode.

    Raises:
        CrossprobeError: timm does not know the name, or its weights cannot be fetched.
    """
    timm = timm_itself()
    if not timm.is_model(name.partition(".")[0]):
        raise CrossprobeError(f"timm knows no model {name!r}; near names: {', '.join(_near(name)) or 'none'}")
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise CrossprobeError(
            f"the weights of {name} could not be fetched ({type(error).__name__}: {error}): "
            "go online once, or download the file and give its path, or choose random weights"
        ) from error


def timm_itself() -> ModuleType:
    """Gives timm, imported once torchvision's operators are seen to; before that its import fails."""
    declare_missing_operators()
    import timm

    return timm


def _near(name: str) -> Sequence[str]:
    return timm_itself().list_models(f"*{name.partition('.')[0][:12]}*")[:3]
