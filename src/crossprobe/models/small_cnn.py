"""The small convolutional network of the fetal study, with its tried variations as settings (S1-2, S1-4)."""

from __future__ import annotations

from torch import Tensor, nn

from crossprobe.models.classifier_config import SmallCnnConfig


class SmallCnn(nn.Module):
    """Blocks of convolution, ReLU and max-pooling, as a backbone.

    Args:
        config: Filters, kernel and normalisation.
        channels: Input channels.
    """

    def __init__(self, config: SmallCnnConfig, channels: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for width in config.filters:
            # "same" also serves even kernels, which no symmetric padding does.
            blocks.append(nn.Conv2d(channels, width, config.kernel_px, padding="same"))
            blocks += [nn.BatchNorm2d(width)] if config.batch_norm else []
            blocks += [nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward_features(self, images: Tensor) -> Tensor:
        """Computes the last feature maps.

        Args:
            images: [B, C, S, S].

        Returns:
            [B, filters[-1], S / 2^blocks, S / 2^blocks].
        """
        return self.blocks(images)
