"""The encoder of a TransUNet: exactly what self-supervision pretrains and fine-tuning loads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossprobe.errors import CrossprobeError
from crossprobe.models.config import PATCH_PX, TransUNetConfig
from crossprobe.models.hybrid_resnet import HybridResNet, initialise_convolutions
from crossprobe.models.transformer import Transformer


class Encoder(nn.Module):
    """Hybrid ResNet, token embedding with learnt positions, transformer and its final norm.

    Args:
        config: Architecture.
    """

    def __init__(self, config: TransUNetConfig):
        super().__init__()
        self.config = config
        self.resnet = HybridResNet(config)
        self.embedding = nn.Conv2d(self.resnet.channels_out, config.width, 1)
        self.position_embeddings = nn.Parameter(torch.empty(1, config.grid**2, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = Transformer(config)
        initialise_convolutions([self.resnet])
        nn.init.xavier_uniform_(self.embedding.weight.flatten(1))
        if self.embedding.bias is not None:
            nn.init.zeros_(self.embedding.bias)
        nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encodes a batch.

        Args:
            images: [B, C, S, S] in [0, 1], S the configured image size. One channel is repeated for a
                model of three.

        Returns:
            Tokens [B, (S/16)^2, D] in row order, and the skips of the hybrid ResNet, coarse to fine.

        Raises:
            CrossprobeError: The images have another size or number of channels than the model.
        """
        features, skips = self.resnet(self._checked(images))
        tokens = self.embedding(features).flatten(2).transpose(1, 2)
        return self.transformer(self.dropout(tokens + self.position_embeddings)), skips

    def _checked(self, images: Tensor) -> Tensor:
        config = self.config
        if images.shape[1] == 1 and config.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        expected = (config.channels, config.image_size, config.image_size)
        if tuple(images.shape[1:]) != expected:
            raise CrossprobeError(
                f"each image must be of shape {expected}, the batch is {tuple(images.shape)}: resize them or "
                f"build the model with another image_size (a multiple of {PATCH_PX}) or channels"
            )
        return images
