"""Names of the models that parameters can ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossprobe.errors import CrossprobeError
from crossprobe.models.config import TransUNetConfig

PRESETS: dict[str, Callable[..., TransUNetConfig]] = {
    "r50_vit_b16": TransUNetConfig.r50_vit_b16,
    "mini": TransUNetConfig.mini,
}


def model_config(name: str, **changes: Any) -> TransUNetConfig:
    """Settings of a model by name.

    Args:
        name: A key of ``PRESETS``.
        changes: Fields that differ from the preset, for example ``image_size=96``.

    Returns:
        The settings.

    Raises:
        CrossprobeError: No preset has the name.
    """
    if name not in PRESETS:
        raise CrossprobeError(f"model {name!r} is not known; choose one of {', '.join(PRESETS)}")
    return PRESETS[name](**changes)
