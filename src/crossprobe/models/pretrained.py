"""ImageNet weights for the encoder, from a file or timm's hub; never a silent fall-back to random ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from crossprobe.errors import CoverageError
from crossprobe.models.checkpoint import load_weights
from crossprobe.models.coverage import LoadReport
from crossprobe.models.encoder import Encoder
from crossprobe.models.foreign_weights import read_weights
from crossprobe.models.weight_names import Rule, rename

TIMM_SOURCE = "timm"
TIMM_NAME = "vit_base_r50_s16_224.orig_in21k"

_TIMM_RULES: tuple[Rule, ...] = (
    (r"^position_embeddings", "pos_embed"),
    (r"^embedding\.", "patch_embed.proj."),
    (r"^resnet\.stem_convolution\.", "patch_embed.backbone.stem.conv."),
    (r"^resnet\.stem_norm\.", "patch_embed.backbone.stem.norm."),
    (r"^resnet\.stages\.(\d+)\.(\d+)\.", r"patch_embed.backbone.stages.\1.blocks.\2."),
    (r"\.shortcut\.convolution\.", ".downsample.conv."),
    (r"\.shortcut\.norm\.", ".downsample.norm."),
    (r"\.convolution(\d)\.", r".conv\1."),
    (r"^transformer\.norm\.", "norm."),
    (r"^transformer\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.attention_norm\.", ".norm1."),
    (r"\.perceptron_norm\.", ".norm2."),
    (r"\.attention\.query_key_value\.", ".attn.qkv."),
    (r"\.attention\.output\.", ".attn.proj."),
    (r"\.expand\.", ".mlp.fc1."),
    (r"\.contract\.", ".mlp.fc2."),
)
_NPZ_RULES: tuple[Rule, ...] = (
    (r"norm(\d?)\.weight$", r"norm\1.scale"),
    (r"\.weight$", ".kernel"),
    (r"^position_embeddings", "Transformer.posembed_input.pos_embedding"),
    (r"^resnet\.stem_convolution\.", "conv_root."),
    (r"^resnet\.stem_norm\.", "gn_root."),
    # Theirs count from one.
    (r"^resnet\.stages\.(\d+)\.(\d+)", lambda unit: f"block{int(unit[1]) + 1}.unit{int(unit[2]) + 1}"),
    (r"\.shortcut\.convolution\.", ".conv_proj."),
    (r"\.shortcut\.norm\.", ".gn_proj."),
    (r"\.convolution(\d)\.", r".conv\1."),
    (r"\.norm(\d)\.", r".gn\1."),
    (r"^transformer\.norm\.", "Transformer.encoder_norm."),
    (r"^transformer\.layers\.(\d+)", r"Transformer.encoderblock_\1"),
    (r"\.attention_norm\.", ".LayerNorm_0."),
    (r"\.perceptron_norm\.", ".LayerNorm_2."),
    (r"\.attention\.output\.", ".MultiHeadDotProductAttention_1.out."),
    (r"\.attention\.", ".MultiHeadDotProductAttention_1."),
    (r"\.expand\.", ".MlpBlock_3.Dense_0."),
    (r"\.contract\.", ".MlpBlock_3.Dense_1."),
    (r"\.", "/"),
)


def load_imagenet(encoder: Encoder, source: str | Path) -> LoadReport:
    """Fills an encoder with ImageNet-21k weights of R50-ViT-B16.

    They were trained with asymmetric padding and 32 groups on projected shortcuts; the public code loads
    them into symmetric padding and one group a channel, and so does the default here. Set
    ``shortcut_groups=32`` to stay closer to where they come from.

    Args:
        encoder: Filled in place; positions are interpolated to its image size.
        source: ``"timm"`` for timm's hub or its local cache; else a file: timm's state dict
            (``.safetensors``, ``.pth``) or the original ``.npz``.

    Returns:
        What was loaded.

    Raises:
        CrossprobeError: The file or the hub gives no weights.
        CoverageError: The weights do not fill the encoder, for example because it is not R50-ViT-B16.
    """
    if str(source) == TIMM_SOURCE:
        # Imported here: a file needs neither timm nor the torchvision it brings along.
        from crossprobe.models.timm_models import create_timm_model

        weights = create_timm_model(TIMM_NAME, pretrained=True, num_classes=0).state_dict()
    else:
        weights = read_weights(source)
    return load_weights(encoder, from_imagenet(weights, encoder))


def from_imagenet(weights: Mapping[str, Tensor], encoder: Encoder) -> dict[str, Tensor]:
    """Spells ImageNet weights of R50-ViT-B16 as an encoder of ours.

    The class token and its position, and the classifier, are left out. For one input channel the filters of
    the first convolution are summed over colours, which is exact for grey images but for its standardisation.

    Args:
        weights: timm's state dict of ``vit_base_r50_s16_224``, or the arrays of the original ``.npz``.
        encoder: Says which names are wanted.

    Returns:
        Weights under the encoder's names, those that were found.

    Raises:
        CoverageError: The weights are in neither format.
    """
    if "Transformer/posembed_input/pos_embedding" in weights:
        spell = _from_npz
    elif "patch_embed.backbone.stem.conv.weight" in weights:
        spell = _from_timm
    else:
        raise CoverageError(
            f"not ImageNet weights of R50-ViT-B16: neither timm's names nor those of the original .npz "
            f"(first names: {', '.join(list(weights)[:3])})"
        )
    found = {name: value for name in encoder.state_dict() if (value := spell(name, weights)) is not None}
    positions = found.get("position_embeddings")
    if positions is not None and math.isqrt(positions.shape[1]) ** 2 != positions.shape[1]:
        found["position_embeddings"] = positions[:, 1:]  # without the class token's
    stem = "resnet.stem_convolution.weight"
    if stem in found and encoder.config.channels == 1:
        found[stem] = found[stem].sum(dim=1, keepdim=True)
    return found


def _from_timm(name: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    return weights.get(rename(name, _TIMM_RULES))


def _from_npz(name: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    theirs = rename(name, _NPZ_RULES)
    if "/query_key_value/" in theirs:
        split = [theirs.replace("query_key_value", part) for part in ("query", "key", "value")]
        if not all(part in weights for part in split):
            return None
        return torch.cat([_reordered(part, weights[part]) for part in split])
    return _reordered(theirs, weights[theirs]) if theirs in weights else None


def _reordered(name: str, value: Tensor) -> Tensor:
    """Puts the output axis first, as PyTorch does; the original keeps heads apart and outputs last."""
    if name.endswith(("/bias", "/scale")):
        return value.flatten()
    if not name.endswith("/kernel"):
        return value
    if value.ndim == 4:
        return value.permute(3, 2, 0, 1)
    return (value.flatten(0, 1) if name.endswith("/out/kernel") and value.ndim == 3 else value.flatten(1)).T
