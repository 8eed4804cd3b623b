"""ImageNet weights under other people's names."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.models import timm_models
from crossprobe.models.encoder import Encoder
from crossprobe.models.pretrained import from_imagenet, load_imagenet
from crossprobe.models.transunet import TransUNetConfig

MINI = TransUNetConfig.mini(64, channels=3)


def _original_arrays(encoder: Encoder) -> dict[str, np.ndarray]:
    """Writes an encoder's weights the way the original .npz holds them, by hand, part by part."""
    arrays: dict[str, Tensor] = {}

    def norm(name, module, shape=(-1,)):
        arrays[f"{name}/scale"], arrays[f"{name}/bias"] = (
            module.weight.reshape(shape),
            module.bias.reshape(shape),
        )

    def convolution(name, module):
        arrays[f"{name}/kernel"] = module.weight.permute(2, 3, 1, 0)

    def linear(name, weight, bias):
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = weight.T, bias

    convolution("conv_root", encoder.resnet.stem_convolution)
    norm("gn_root", encoder.resnet.stem_norm, (1, 1, 1, -1))
    for stage_index, stage in enumerate(encoder.resnet.stages, start=1):
        for unit_index, unit in enumerate(stage, start=1):
            start = f"block{stage_index}/unit{unit_index}"
            for part in (1, 2, 3):
                convolution(f"{start}/conv{part}", getattr(unit, f"convolution{part}"))
                norm(f"{start}/gn{part}", getattr(unit, f"norm{part}"))
            if len(unit.shortcut):
                convolution(f"{start}/conv_proj", unit.shortcut.convolution)
                norm(f"{start}/gn_proj", unit.shortcut.norm)
    convolution("embedding", encoder.embedding)
    arrays["embedding/bias"] = encoder.embedding.bias
    positions = encoder.position_embeddings
    arrays["Transformer/posembed_input/pos_embedding"] = torch.cat([torch.rand(1, 1, 128), positions], dim=1)
    norm("Transformer/encoder_norm", encoder.transformer.norm)
    for index, layer in enumerate(encoder.transformer.layers):
        start = f"Transformer/encoderblock_{index}"
        norm(f"{start}/LayerNorm_0", layer.attention_norm)
        norm(f"{start}/LayerNorm_2", layer.perceptron_norm)
        linear(f"{start}/MlpBlock_3/Dense_0", layer.expand.weight, layer.expand.bias)
        linear(f"{start}/MlpBlock_3/Dense_1", layer.contract.weight, layer.contract.bias)
        attention = f"{start}/MultiHeadDotProductAttention_1"
        fused = layer.attention.query_key_value
        for part, weight, bias in zip(
            ("query", "key", "value"), fused.weight.chunk(3), fused.bias.chunk(3), strict=True
        ):
            arrays[f"{attention}/{part}/kernel"] = weight.T.reshape(128, 4, 32)
            arrays[f"{attention}/{part}/bias"] = bias.reshape(4, 32)
        arrays[f"{attention}/out/kernel"] = layer.attention.output.weight.T.reshape(4, 32, 128)
        arrays[f"{attention}/out/bias"] = layer.attention.output.bias
    return {name: value.detach().numpy() for name, value in arrays.items()}


def _randomised(config: TransUNetConfig) -> Encoder:
    encoder = Encoder(config)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return encoder


def test_the_original_arrays_are_read(tmp_path):
    source, target = _randomised(MINI), Encoder(MINI)
    np.savez(tmp_path / "R50.npz", **_original_arrays(source))
    report = load_imagenet(target, tmp_path / "R50.npz")
    assert report.coverage == 1.0
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_one_channel_sums_the_colours_and_positions_are_interpolated(tmp_path):
    source, target = _randomised(MINI), Encoder(TransUNetConfig.mini(96, channels=1))
    np.savez(tmp_path / "R50.npz", **_original_arrays(source))
    report = load_imagenet(target, tmp_path / "R50.npz")
    assert report.interpolated == ("position_embeddings",)
    summed = source.resnet.stem_convolution.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(target.resnet.stem_convolution.weight, summed)


def test_timm_has_a_place_for_every_weight():
    with torch.device("meta"):
        timm_weights = timm_models.create_timm_model("vit_base_r50_s16_224", num_classes=0).state_dict()
        encoder = Encoder(TransUNetConfig.r50_vit_b16())
    found = from_imagenet(timm_weights, encoder)
    wanted = {name: value.shape for name, value in encoder.state_dict().items()}
    assert {name: value.shape for name, value in found.items()} == wanted
    assert len(found) == len(timm_weights) - 1  # the class token is left


def test_the_transformer_computes_what_timm_computes(tmp_path):
    from timm.models.vision_transformer import VisionTransformer

    theirs = VisionTransformer(
        img_size=64, patch_size=16, embed_dim=128, depth=4, num_heads=4, num_classes=0, global_pool=""
    ).eval()
    weights = theirs.state_dict() | {"patch_embed.backbone.stem.conv.weight": torch.rand(16, 3, 7, 7)}
    ours = Encoder(MINI).eval()
    found = from_imagenet(weights, ours)
    start = "transformer."
    layers = {name.removeprefix(start): found[name] for name in found if name.startswith(start)}
    ours.transformer.load_state_dict(layers)
    tokens = torch.randn(2, 16, 128)
    expected = theirs.norm(theirs.blocks(tokens))
    torch.testing.assert_close(ours.transformer(tokens), expected, atol=1e-5, rtol=1e-5)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    np.savez(tmp_path / "R50.npz", **_original_arrays(_randomised(MINI)))
    with pytest.raises(CoverageError, match=r"layers\.4"):
        load_imagenet(Encoder(TransUNetConfig.mini(64, channels=3, depth=5)), tmp_path / "R50.npz")
    safetensors.torch.save_file({"fc.weight": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(CoverageError, match="neither timm's names nor"):
        load_imagenet(Encoder(MINI), tmp_path / "other.safetensors")


def test_offline_says_what_to_do(monkeypatch):
    def unreachable(name: str, pretrained: bool, **options):
        assert (name, pretrained) == ("vit_base_r50_s16_224.orig_in21k", True)
        raise OSError("no route to host")

    monkeypatch.setattr(timm_models.timm_itself(), "create_model", unreachable)
    with pytest.raises(CrossprobeError, match=r"could not be fetched.*no route.*give its path"):
        load_imagenet(Encoder(MINI), "timm")


def test_unknown_timm_names_are_refused():
    with pytest.raises(CrossprobeError, match="near names: vit_base_r50_s16_224"):
        timm_models.create_timm_model("vit_base_r50_s32_999")
