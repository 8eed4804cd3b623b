"""The cascaded upsampling decoder of a TransUNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.hybrid_resnet import initialise_convolutions


class ConvolutionNormReLU(nn.Sequential):
    """3x3 convolution without bias, batch norm, ReLU.

    Args:
        channels_in: Channels taken.
        channels_out: Channels given.
    """

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.add_module("convolution", nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False))
        self.add_module("norm", nn.BatchNorm2d(channels_out))
        self.add_module("activation", nn.ReLU(inplace=True))


class DecoderBlock(nn.Module):
    """Doubles the side, joins a skip if there is one, convolves twice.

    Args:
        channels_in: Channels from below.
        channels_skip: Channels of the skip, 0 for none.
        channels_out: Channels given.
    """

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int):
        super().__init__()
        self.first = ConvolutionNormReLU(channels_in + channels_skip, channels_out)
        self.second = ConvolutionNormReLU(channels_out, channels_out)

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        """Maps [B, C, H, W], with a skip [B, K, 2H, 2W] or none, to [B, channels_out, 2H, 2W]."""
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
        if skip is not None:
            features = torch.cat([features, skip], dim=1)
        return self.second(self.first(features))


class Decoder(nn.Module):
    """From tokens and skips to features of the input's size.

    Args:
        config: Its widths are used.
    """

    def __init__(self, config: TransUNetConfig):
        super().__init__()
        self.grid = config.grid
        self.entry = ConvolutionNormReLU(config.width, config.decoder_entry_width)
        widths_in = (config.decoder_entry_width, *config.decoder_widths[:-1])
        self.blocks = nn.ModuleList(
            DecoderBlock(channels_in, skip, channels_out)
            for channels_in, skip, channels_out in zip(
                widths_in, (*config.skip_widths, 0), config.decoder_widths, strict=True
            )
        )
        initialise_convolutions([self])

    def forward(self, tokens: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Decodes tokens.

        Args:
            tokens: [B, N, D] from the encoder.
            skips: The encoder's three skips, coarse to fine.

        Returns:
            Features [B, decoder_widths[-1], S, S].
        """
        features = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        features = self.entry(features)
        for block, skip in zip(self.blocks, (*skips, None), strict=True):
            features = block(features, skip)
        return features
