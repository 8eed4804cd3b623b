"""Checkpoints of the public wrist-study code: their names to ours and back, bit for bit.

That code keeps three forms: a segmentation TransUNet and a SimMIM one share 409 names, and a contrastive
model drops their leading ``transformer.`` and adds a projection head. Trained on several devices, every name
gains ``module.``; loading such a file into a plain model matches nothing, and the public code says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from crossprobe.errors import CoverageError
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.projection import ContrastiveModel
from crossprobe.models.transunet import TransUNet
from crossprobe.models.weight_names import Rule, rename

DATA_PARALLEL = "module."
_CONTRASTIVE_MARK = "projection_head."
_FUSED = ".query_key_value."


def _unit(match: re.Match[str]) -> str:
    # Theirs count from one, and end each level of the body in a slash.
    return f"hybrid_model.body.block{int(match[1]) + 1}/.unit{int(match[2]) + 1}/."


_RULES: tuple[Rule, ...] = (
    (r"^encoder\.transformer\.norm\.", "transformer.encoder.encoder_norm."),
    (r"^encoder\.transformer\.layers\.", "transformer.encoder.layer."),
    (r"\.perceptron_norm\.", ".ffn_norm."),
    (r"\.expand\.", ".ffn.fc1."),
    (r"\.contract\.", ".ffn.fc2."),
    (r"\.attention\.output\.", ".attn.out."),
    (r"\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"^encoder\.", "transformer.embeddings."),
    (r"\.embedding\.", ".patch_embeddings."),
    (r"resnet\.stem_convolution\.", "hybrid_model.root.conv."),
    (r"resnet\.stem_norm\.", "hybrid_model.root.gn."),
    (r"resnet\.stages\.(\d+)\.(\d+)\.", _unit),
    (r"/\.convolution(\d)\.", r"/.conv\1."),
    (r"/\.norm(\d)\.", r"/.gn\1."),
    (r"/\.shortcut\.convolution\.", "/.downsample."),
    (r"/\.shortcut\.norm\.", "/.gn_proj."),
    (r"^decoder\.entry\.", "decoder.conv_more."),
    (r"^(decoder\.blocks\.\d+)\.first\.", r"\1.conv1."),
    (r"^(decoder\.blocks\.\d+)\.second\.", r"\1.conv2."),
    (r"^(decoder\..*)\.convolution\.", r"\1.0."),
    (r"^(decoder\..*)\.norm\.", r"\1.1."),
    (r"^head\.", "segmentation_head.0."),
    (r"^projection\.hidden\.", _CONTRASTIVE_MARK + "0."),
    (r"^projection\.output\.", _CONTRASTIVE_MARK + "2."),
)


def public_names(name: str, contrastive: bool = False) -> tuple[str, ...]:
    """The public names of one of our weights.

    Args:
        name: Key of a :class:`TransUNet`, a masked image model or a :class:`ContrastiveModel`.
        contrastive: Spell it as the contrastive form does.

    Returns:
        One name, or three for our fused attention weights: query, key, value.
    """
    if _FUSED in name:
        parts = (name.replace(_FUSED, f".{part}.") for part in ("query", "key", "value"))
        return tuple(public_names(part, contrastive)[0] for part in parts)
    # The encoder's own rules leave names that begin with "transformer.encoder", which no later rule matches.
    name = rename(name, _RULES)
    return (name.removeprefix("transformer.") if contrastive else name,)


def to_public(weights: Mapping[str, Tensor], data_parallel: bool = False) -> dict[str, Tensor]:
    """Spells a state dict of ours as the public code does.

    Args:
        weights: Of a :class:`TransUNet`, a masked image model or a :class:`ContrastiveModel`.
        data_parallel: Begin every name with ``module.``.

    Returns:
        The same numbers under public names.
    """
    contrastive = any(name.startswith("projection.") for name in weights)
    public: dict[str, Tensor] = {}
    for name, value in weights.items():
        names = public_names(name, contrastive)
        for public_name, part in zip(
            names, value.chunk(len(names)) if len(names) > 1 else (value,), strict=True
        ):
            public[DATA_PARALLEL + public_name if data_parallel else public_name] = part
    return public


def from_public(weights: Mapping[str, Tensor], config: TransUNetConfig | None = None) -> dict[str, Tensor]:
    """Spells a public state dict as ours, whichever of the three forms it has.

    Args:
        weights: Public names, with or without ``module.``.
        config: Architecture the file was trained with; by default the full model. Its image size does not
            matter: :func:`crossprobe.models.checkpoint.load_weights` interpolates positions.

    Returns:
        Weights for a :class:`TransUNet` (segmentation), a masked image model (SimMIM) or a
        :class:`ContrastiveModel`; ``encoder.`` begins the part that all three share.

    Raises:
        CoverageError: A name is missing or left over; nothing is guessed.
    """
    given = strip_data_parallel(weights)
    contrastive = any(name.startswith(_CONTRASTIVE_MARK) for name in given)
    table = {name: public_names(name, contrastive) for name in our_names(contrastive, config)}
    expected = [public_name for names in table.values() for public_name in names]
    _require_same(expected, given)
    return {
        name: torch.cat([given[part] for part in names]) if len(names) > 1 else given[names[0]]
        for name, names in table.items()
    }


def our_names(contrastive: bool = False, config: TransUNetConfig | None = None) -> list[str]:
    """Keys of our model of one form, without allocating its weights.

    Args:
        contrastive: The contrastive form; otherwise the segmentation one, whose names SimMIM shares.
        config: Architecture; by default the full model.

    Returns:
        The keys, in the order of the state dict.
    """
    form = ContrastiveModel if contrastive else TransUNet
    with torch.device("meta"):
        return list(form(config or TransUNetConfig.r50_vit_b16()).state_dict())


def strip_data_parallel(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drops the ``module.`` that data-parallel training puts before every name.

    Args:
        weights: A state dict.

    Returns:
        The same without it, or an equal dict if not every name has it.
    """
    if weights and all(name.startswith(DATA_PARALLEL) for name in weights):
        return {name.removeprefix(DATA_PARALLEL): value for name, value in weights.items()}
    return dict(weights)


def _require_same(expected: Iterable[str], given: Mapping[str, Tensor]) -> None:
    wanted = set(expected)
    missing = [name for name in sorted(wanted) if name not in given]
    unexpected = [name for name in given if name not in wanted]
    if missing or unexpected:
        raise CoverageError(
            f"not a checkpoint of the public code in a form known here: {len(wanted) - len(missing)} of "
            f"{len(wanted)} names found; {len(missing)} missing ({', '.join(missing[:3]) or 'none'}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:3]) or 'none'}). "
            "Give the config it was trained with if it is not the full model"
        )
