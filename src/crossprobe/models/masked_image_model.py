"""The model that masked image modelling trains: the whole TransUNet, reconstructing its input."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.errors import CrossprobeError
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.transunet import TransUNet


class MaskedImageModel(nn.Module):
    """SimMIM on a TransUNet (Xie et al. 2022, arXiv:2111.09886; requirement S3-7).

    Masked cells are zeroed and all cells are fed, so the encoder needs no mask token. State-dict keys are
    those of a :class:`TransUNet`: ``encoder.``, ``decoder.``, ``head.`` (one output per image channel).

    Args:
        config: Architecture; ``classes`` is set to ``channels``.
    """

    def __init__(self, config: TransUNetConfig):
        super().__init__()
        network = TransUNet(config.model_copy(update={"classes": config.channels}))
        self.config = network.config
        self.encoder = network.encoder
        self.decoder = network.decoder
        self.head = network.head

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reconstructs images from what the mask leaves.

        Args:
            images: [B, C, S, S] in [0, 1]; one channel is repeated for a model of three.
            mask: True or 1 where the image is hidden: pixels [B, 1, S, S], or cells [B, g, g] with g a
                divisor of S. None if the images come corrupted already.

        Returns:
            Reconstruction [B, channels, S, S], unbounded.

        Raises:
            CrossprobeError: Images or mask do not fit the model.
        """
        if mask is not None:
            images = images * (1 - pixel_mask(mask, images.shape[-1]).to(images.dtype))
        tokens, skips = self.encoder(images)
        return self.head(self.decoder(tokens, skips))


def pixel_mask(mask: Tensor, side: int) -> Tensor:
    """Spreads a mask of cells over the pixels they cover.

    Args:
        mask: [B, g, g] with g a divisor of ``side``, or [B, 1, side, side].
        side: Side of the image, pixels.

    Returns:
        Float mask [B, 1, side, side].

    Raises:
        CrossprobeError: The mask has another shape.
    """
    cells = mask if mask.ndim == 4 else mask.unsqueeze(1)
    if cells.ndim != 4 or cells.shape[1] != 1 or cells.shape[2] != cells.shape[3] or side % cells.shape[3]:
        raise CrossprobeError(
            f"mask of shape {tuple(mask.shape)} given; expected [batch, g, g] with g a divisor of {side}, "
            f"or [batch, 1, {side}, {side}]"
        )
    return F.interpolate(cells.float(), size=(side, side), mode="nearest")
