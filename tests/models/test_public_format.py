"""Names of the public code's checkpoints, there and back."""

from __future__ import annotations

import json

import pytest
import torch

from crossprobe.errors import CoverageError
from crossprobe.models.masked_image_model import MaskedImageModel
from crossprobe.models.projection import ContrastiveModel
from crossprobe.models.public_format import from_public, our_names, public_names, to_public
from crossprobe.models.transunet import TransUNet, TransUNetConfig

CONFIG = TransUNetConfig.mini(64, channels=3)
FORMS = {"segmentation": TransUNet, "masked_image": MaskedImageModel, "contrastive": ContrastiveModel}


def test_all_409_names_and_shapes_are_met(golden):
    table = json.loads(golden("model_keys.json").read_text())
    theirs = {name: shape for name, (shape, _) in table["state_dict_seg"].items()}
    with torch.device("meta"):
        ours = to_public(TransUNet(TransUNetConfig.r50_vit_b16()).state_dict())
        contrastive = to_public(ContrastiveModel(TransUNetConfig.r50_vit_b16()).state_dict())
    assert len(theirs) == 409
    assert {name: list(value.shape) for name, value in ours.items()} == theirs
    expected = {name.removeprefix("transformer.") for name in theirs if name.startswith("transformer.")}
    assert contrastive.keys() == expected | table["contrastive_extra"].keys()
    assert list(contrastive["projection_head.2.weight"].shape) == [128, 768]


@pytest.mark.parametrize("data_parallel", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_returns_bit_for_bit(form: str, data_parallel: bool):
    ours = FORMS[form](CONFIG).state_dict()
    public = to_public(ours, data_parallel)
    assert all(name.startswith("module.") == data_parallel for name in public)
    returned = from_public(public, CONFIG)
    assert list(returned) == list(ours)
    assert all(torch.equal(returned[name], value) for name, value in ours.items())


def test_attention_weights_are_kept_apart_in_public():
    names = public_names("encoder.transformer.layers.2.attention.query_key_value.bias")
    assert names == tuple(
        f"transformer.encoder.layer.2.attn.{part}.bias" for part in ("query", "key", "value")
    )
    ours = TransUNet(CONFIG).state_dict()
    key = "encoder.transformer.layers.0.attention.query_key_value.weight"
    public = to_public(ours)
    assert torch.equal(public["transformer.encoder.layer.0.attn.key.weight"], ours[key][128:256])


def test_no_two_weights_share_a_public_name():
    for contrastive in (False, True):
        names = [public for name in our_names(contrastive) for public in public_names(name, contrastive)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weights: weights.pop("decoder.conv_more.0.weight"),
            r"1 missing \(decoder.conv_more.0.weight\)",
        ),
        (lambda weights: weights.update(more=torch.ones(1)), r"1 unexpected \(more\)"),
        (lambda weights: weights.clear(), "0 of"),
    ],
)
def test_differences_are_named(change, message):
    public = to_public(TransUNet(CONFIG).state_dict())
    change(public)
    with pytest.raises(CoverageError, match=message):
        from_public(public, CONFIG)


def test_another_depth_asks_for_its_config():
    with pytest.raises(CoverageError, match="Give the config it was trained with"):
        from_public(to_public(TransUNet(CONFIG).state_dict()))
