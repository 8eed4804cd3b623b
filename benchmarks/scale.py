"""How much work each case does: a test in seconds, a laptop in minutes, a data-centre GPU at full size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from crossprobe.models.config import TransUNetConfig


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    Attributes:
        model: Architecture.
        frames: Frames made.
        data_batch: Frames a batch of the data path.
        pairs: Rows of the contrastive loss, each with two views.
        width: Their width.
        mim_batch: Images a step of masked image modelling.
        contrastive_batch: Frames a contrastive step; as many first views as second.
        contrastive_at_once: Frames of it that our side embeds at once; None: all.
        segmentation_batch: Images a step of fine-tuning.
        inference_batch: Frames a batch of inference.
        repeats: Timed turns.
    """

    model: TransUNetConfig
    frames: int
    data_batch: int
    pairs: int
    width: int
    mim_batch: int
    contrastive_batch: int
    segmentation_batch: int
    inference_batch: int
    repeats: int
    contrastive_at_once: int | None = None


def choose_scale(name: str, device: torch.device, quick: bool, repeats: int | None) -> Scale:
    """Chooses sizes.

    Args:
        name: Model, `full` (R50-ViT-B16 at 224 px) or `mini` (at 112 px).
        device: A GPU gets the batches of the published study, a processor smaller ones.
        quick: Everything tiny, whatever else is asked for.
        repeats: Timed turns; None takes the usual number.

    Returns:
        The sizes.
    """
    if quick:
        model = TransUNetConfig.mini(image_size=64)
        return Scale(model, 8, 4, 32, 16, 2, 4, 2, 2, repeats or 2)
    model = TransUNetConfig.r50_vit_b16() if name == "full" else TransUNetConfig.mini()
    if device.type == "cuda":
        at_once = 128 if name == "full" else None  # 1,024 views of the full model do not fit
        return Scale(model, 1024, 256, 1024, 128, 128, 512, 24, 64, repeats or 9, at_once)
    if name == "full":
        return Scale(model, 64, 64, 1024, 128, 4, 4, 4, 8, repeats or 5)
    return Scale(model, 256, 64, 1024, 128, 16, 16, 16, 16, repeats or 7)
