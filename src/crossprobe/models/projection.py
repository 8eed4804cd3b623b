"""The contrastive form of an encoder: mean-pooled tokens through a small perceptron."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.encoder import Encoder


class ProjectionConfig(BaseModel):
    """Shape of the projection head (requirement S3-8: 768-768-ReLU-128)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_width: int | None = Field(
        None, ge=1, description="Width of the hidden layer; none: a token's width"
    )
    output_width: int = Field(128, ge=1, description="Width of the projection")


class ContrastiveModel(nn.Module):
    """Encoder and projection head (Chen et al. 2020, arXiv:2002.05709).

    State-dict keys begin with ``encoder.``, as in every model of ours, and ``projection.``.

    Args:
        config: Architecture of the encoder.
        projection: Shape of the head.
    """

    def __init__(self, config: TransUNetConfig, projection: ProjectionConfig | None = None):
        super().__init__()
        projection = projection or ProjectionConfig()
        hidden_width = projection.hidden_width or config.width
        self.config = config
        self.encoder = Encoder(config)
        self.projection = nn.Sequential()
        self.projection.add_module("hidden", nn.Linear(config.width, hidden_width))
        self.projection.add_module("activation", nn.ReLU())
        self.projection.add_module("output", nn.Linear(hidden_width, projection.output_width))

    def forward(self, images: Tensor) -> Tensor:
        """Projects a batch.

        Args:
            images: [B, C, S, S] in [0, 1]; one channel is repeated for a model of three.

        Returns:
            Projections [B, output_width], not normalised: the loss does that.
        """
        tokens, _ = self.encoder(images)
        return self.projection(tokens.mean(dim=1))
