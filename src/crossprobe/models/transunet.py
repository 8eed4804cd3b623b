"""TransUNet (Chen et al. 2021, arXiv:2102.04306): hybrid transformer encoder, convolutional decoder."""

from __future__ import annotations

from torch import Tensor, nn

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.decoder import Decoder
from crossprobe.models.encoder import Encoder

__all__ = ["TransUNet", "TransUNetConfig"]


class TransUNet(nn.Module):
    """Segmentation model of requirement S3-6.

    ``encoder`` is what self-supervision pretrains; ``decoder`` and ``head`` are new in fine-tuning. The same
    three names stand first in every key of the state dict.

    Args:
        config: Architecture; see :meth:`TransUNetConfig.r50_vit_b16` and :meth:`TransUNetConfig.mini`.
    """

    def __init__(self, config: TransUNetConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.head = nn.Conv2d(config.decoder_widths[-1], config.classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Segments a batch.

        Args:
            images: [B, C, S, S] in [0, 1]; one channel is repeated for a model of three.

        Returns:
            Logits [B, classes, S, S].

        Raises:
            CrossprobeError: The images do not fit the configured size or channels.
        """
        tokens, skips = self.encoder(images)
        return self.head(self.decoder(tokens, skips))

    def encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encodes a batch without decoding it.

        Args:
            images: As in :meth:`forward`.

        Returns:
            Tokens [B, (S/16)^2, D] and skips [B, 8w, S/8, S/8], [B, 4w, S/4, S/4], [B, w, S/2, S/2].
        """
        return self.encoder(images)
