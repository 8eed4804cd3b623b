"""Settings of the architecture."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from crossprobe.errors import CrossprobeError
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.registry import PRESETS, model_config


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset: str):
    config = model_config(preset, image_size=96, channels=3, classes=4)
    assert TransUNetConfig.model_validate_json(config.model_dump_json()) == config
    assert (config.image_size, config.channels, config.classes, config.grid) == (96, 3, 4, 6)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(CrossprobeError, match="'huge' is not known; choose one of r50_vit_b16, mini"):
        model_config("huge")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "multiple of 16"),
        ({"channels": 2}, "channels"),
        ({"heads": 3}, "multiple of heads"),
        ({"stem_width": 12}, "multiple of norm_groups"),
        ({"shortcut_groups": 5}, "multiple of shortcut_groups"),
        ({"stage_units": (1, 0, 1)}, "at least one unit"),
        ({"drop_out": 0.1}, "Extra inputs"),
        ({"architecture": "unet"}, "transunet"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(changes: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        TransUNetConfig.mini(**changes)
