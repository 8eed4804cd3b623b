"""A classifier: a convolutional backbone, global average pooling, and a new head."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossprobe.errors import CrossprobeError
from crossprobe.models.checkpoint import LoadReport, load_weights
from crossprobe.models.classifier_config import ClassifierConfig
from crossprobe.models.depthwise import protect_depthwise
from crossprobe.models.foreign_weights import read_weights
from crossprobe.models.small_cnn import SmallCnn
from crossprobe.models.timm_models import create_timm_model


class Classifier(nn.Module):
    """Images to one logit a class.

    Args:
        config: The architecture.
        fetch: Start the backbone from timm's published weights, which needs a network or timm's cache.

    Raises:
        CrossprobeError: timm does not know the backbone, its weights cannot be fetched, or it is not
            convolutional.
    """

    def __init__(self, config: ClassifierConfig, fetch: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config, fetch)
        # A named place for the last feature maps, where Grad-CAM looks.
        self.maps = nn.Identity()
        width = _width(self.backbone, config)
        hidden: list[nn.Module] = []
        if config.backbone == "small_cnn":
            hidden = [nn.Linear(width, config.small_cnn.hidden), nn.ReLU()]
            width = config.small_cnn.hidden
        self.neck = nn.Sequential(*hidden)
        self.feature_width = width
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, len(config.classes))

    def features(self, images: Tensor) -> Tensor:
        """Computes what the head, and a domain discriminator, look at.

        Args:
            images: Standardised grey images [B, 1, S, S] of any size.

        Returns:
            [B, feature_width].
        """
        side = self.config.image_size
        if images.shape[-1] != side:
            images = F.interpolate(
                images, size=(side, side), mode="bilinear", align_corners=False, antialias=True
            )
        if self.config.channels != images.shape[1]:
            images = images.expand(-1, self.config.channels, -1, -1)
        maps = self.maps(self.backbone.forward_features(images))  # type: ignore[operator]
        return self.neck(maps.mean(dim=(2, 3)))

    def classify(self, features: Tensor) -> Tensor:
        """Turns features [B, feature_width] into logits [B, classes]."""
        return self.head(self.dropout(features))

    def forward(self, images: Tensor) -> Tensor:
        """Turns standardised grey images [B, 1, S, S] into logits [B, classes]."""
        return self.classify(self.features(images))


def load_backbone(classifier: Classifier, path: Path | str, minimum_coverage: float = 0.9) -> LoadReport:
    """Fills the backbone from a local file, such as timm publishes.

    Args:
        classifier: Its backbone is filled in place; the head stays new.
        path: ``.safetensors``, or a torch file of tensors only.
        minimum_coverage: Least share of the backbone's keys that must be filled.

    Returns:
        What matched.

    Raises:
        CrossprobeError: The file cannot be read.
        CoverageError: It is of another architecture.
    """
    weights = dict(read_weights(path))
    for name, own in classifier.backbone.state_dict().items():
        given = weights.get(name)
        if given is not None and own.ndim == 4 and own.shape[1] == 1 and given.shape[1:2] == (3,):
            # A grey image repeated over three channels gives the same response as the summed kernel.
            weights[name] = given.sum(dim=1, keepdim=True)
    return load_weights(classifier.backbone, weights, minimum_coverage, allow_unexpected=True)


def _backbone(config: ClassifierConfig, fetch: bool) -> nn.Module:
    if config.backbone == "small_cnn":
        return SmallCnn(config.small_cnn, config.channels)
    options = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    model = create_timm_model(
        config.backbone, pretrained=fetch, num_classes=0, in_chans=config.channels, **options
    )
    if hasattr(model, "pre_logits"):
        # VGG's two wide layers sit behind the feature maps and would never be used.
        model.pre_logits = nn.Identity()
    protect_depthwise(model)
    return model


# Looked up once an architecture: a study rebuilds each of its classifiers several times.
_WIDTHS: dict[str, int] = {}


def _width(backbone: nn.Module, config: ClassifierConfig) -> int:
    """Channels of the last feature maps."""
    key = config.model_dump_json(exclude={"classes"})
    if key not in _WIDTHS:
        _WIDTHS[key] = _seen_width(backbone, config)
    return _WIDTHS[key]


@torch.no_grad()
def _seen_width(backbone: nn.Module, config: ClassifierConfig) -> int:
    """Channels of the last feature maps, found by looking."""
    was_training = backbone.training
    backbone.eval()
    probe = torch.zeros(1, config.channels, config.image_size, config.image_size)
    try:
        maps = backbone.forward_features(probe)  # type: ignore[operator]
    except RuntimeError as error:
        raise CrossprobeError(
            f"backbone '{config.backbone}' cannot take images of {config.image_size} px ({error}); "
            "raise image_size (75 px at least for the Inception family)"
        ) from error
    backbone.train(was_training)
    if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise CrossprobeError(
            f"backbone '{config.backbone}' gives no feature maps; choose a convolutional one, for example "
            "efficientnet_b0 or resnet50"
        )
    return maps.shape[1]
