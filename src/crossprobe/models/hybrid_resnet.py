"""The convolutional front of the encoder: a ResNet-50 without its last stage, group-normalised.

Written here rather than taken from timm, whose ``vit_base_r50_s16_224`` has the same parameters but pads
asymmetrically, normalises projected shortcuts in 32 groups and gives no skips; the public TransUNet weights
need symmetric padding and one group a channel there, so the two differ in every output value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.models.config import TransUNetConfig

EXPANSION = 4


class StandardisedConvolution(nn.Conv2d):
    """Convolution whose filters have mean 0 and variance 1 (Qiao et al. 2019, arXiv:1903.10520)."""

    def forward(self, features: Tensor) -> Tensor:
        """Convolves ``features`` [B, C, H, W] with standardised filters; no bias."""
        return F.conv2d(features, self.standardised(), None, self.stride, self.padding)

    def standardised(self) -> Tensor:
        """Gives the filters as they are used: [channels_out, channels_in, kernel, kernel]."""
        # Batch normalisation over one "sample" whose channels are the filters: one kernel, not five.
        return F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0, eps=1e-5
        ).reshape_as(self.weight)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018, arXiv:1803.08494) with moments in single precision under autocast.

    CUDA's kernel takes its moments in single precision whatever it reads, so there the features stay as they
    are: autocast would copy each of them, which costs a tenth of a step's time and a quarter of its memory.
    On a CPU the half-precision kernel is slower by far, and coarser.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalises ``features`` [B, C, H, W]."""
        if features.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(features)
        if features.device.type != "cuda":
            return super().forward(features.float())
        weight, bias = self.weight.to(features.dtype), self.bias.to(features.dtype)
        with torch.autocast("cuda", enabled=False):
            return F.group_norm(features, self.num_groups, weight, bias, self.eps)


def _convolution(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1
) -> StandardisedConvolution:
    return StandardisedConvolution(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


class Bottleneck(nn.Module):
    """Residual unit 1x1, 3x3, 1x1 with the stride on the 3x3 (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, channels_in: int, inner: int, stride: int, groups: int, shortcut_groups: int | None):
        super().__init__()
        channels_out = EXPANSION * inner
        self.convolution1 = _convolution(channels_in, inner, 1)
        self.norm1 = GroupNorm(groups, inner, eps=1e-6)
        self.convolution2 = _convolution(inner, inner, 3, stride)
        self.norm2 = GroupNorm(groups, inner, eps=1e-6)
        self.convolution3 = _convolution(inner, channels_out, 1)
        self.norm3 = GroupNorm(groups, channels_out, eps=1e-6)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut.add_module("convolution", _convolution(channels_in, channels_out, 1, stride))
            self.shortcut.add_module("norm", GroupNorm(shortcut_groups or channels_out, channels_out))

    def forward(self, features: Tensor) -> Tensor:
        """Maps [B, channels_in, H, W] to [B, 4 * inner, H / stride, W / stride]."""
        inner = F.relu(self.norm1(self.convolution1(features)))
        inner = F.relu(self.norm2(self.convolution2(inner)))
        return F.relu(self.norm3(self.convolution3(inner)) + self.shortcut(features))


class HybridResNet(nn.Module):
    """Stem and three residual stages; keeps the features the decoder needs.

    Args:
        config: Its stem width, units a stage and groups are used.
    """

    def __init__(self, config: TransUNetConfig):
        super().__init__()
        width = config.stem_width
        self.stem_convolution: nn.Conv2d = _convolution(config.channels, width, 7, 2)
        self.stem_norm = GroupNorm(config.norm_groups, width, eps=1e-6)
        self.stages = nn.ModuleList()
        channels_in = width
        for index, units in enumerate(config.stage_units):
            inner = width << index
            stage = nn.Sequential()
            for unit in range(units):
                stride = 2 if index and unit == 0 else 1
                block = Bottleneck(channels_in, inner, stride, config.norm_groups, config.shortcut_groups)
                stage.append(block)
                channels_in = EXPANSION * inner
            self.stages.append(stage)
        self.channels_out = channels_in

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Extracts features.

        Args:
            images: Batch [B, C, S, S], S a multiple of 16.

        Returns:
            Features [B, 16w, S/16, S/16] for a stem of width w, and the skips, coarse to fine:
            [B, 8w, S/8, S/8], [B, 4w, S/4, S/4], [B, w, S/2, S/2].
        """
        features = F.relu(self.stem_norm(self.stem_convolution(images)))
        skips = [features]
        features = F.max_pool2d(features, kernel_size=3, stride=2)
        for stage in self.stages[:-1]:
            features = stage(features)
            skips.append(_pad_to(features, images.shape[-1] >> (len(skips) + 1)))
        return self.stages[-1](features), skips[::-1]


def _pad_to(features: Tensor, side: int) -> Tensor:
    # The unpadded pooling leaves the first stage one pixel short (55 of 56 at an input of 224).
    missing = side - features.shape[-1]
    return F.pad(features, (0, missing, 0, missing)) if missing else features


def initialise_convolutions(modules: Sequence[nn.Module]) -> None:
    """Draws filters from He's normal distribution, in place; norms start as the identity.

    Args:
        modules: Modules whose convolutions are drawn anew.
    """
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                if part.bias is not None:
                    torch.nn.init.zeros_(part.bias)
