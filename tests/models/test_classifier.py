"""Every backbone of the zoo goes forwards and backwards; what does not fit says why."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.models.classifier import Classifier, load_backbone
from crossprobe.models.classifier_config import ClassifierConfig

CLASSES = ("benign", "malignant", "normal")
ZOO = {"densenet121": 32, "inception_v3": 75, "legacy_xception": 32, "vgg19": 32, "resnet50": 32,
       "inception_resnet_v2": 75, "mobilenetv2_100": 32, "vgg16": 32, "efficientnet_b0": 32}  # fmt: skip


def config(backbone: str = "small_cnn", **changes) -> ClassifierConfig:
    return ClassifierConfig(**({"backbone": backbone, "classes": CLASSES, "image_size": 32} | changes))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ZOO)
def test_every_layer_of_the_zoo_is_trained(backbone):
    torch.manual_seed(0)
    module = Classifier(config(backbone, image_size=ZOO[backbone]))
    logits = module(torch.randn(4, 1, 40, 40))
    assert logits.shape == (4, 3)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    still = [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
    assert still == []


@pytest.mark.parametrize(
    "small",
    [{}, {"batch_norm": True}, {"kernel_px": 2}, {"filters": (4, 8, 16, 16, 16)}, {"hidden": 8}],
)
def test_variations_of_the_small_network(small):
    module = Classifier(config(small_cnn=small, channels=3))
    logits = module(torch.randn(2, 1, 32, 32))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(value.grad is not None for value in module.parameters())


def test_the_small_network_is_the_documented_one():
    """Three 3x3 convolutions, global average pooling, dense 64, dense 4: counted by hand."""
    module = Classifier(config(classes=("brain", "abdomen", "femur", "thorax"), channels=1))
    convolutions = (9 * 1 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
    assert sum(value.numel() for value in module.parameters()) == convolutions + (64 + 1) * 64 + (64 + 1) * 4


def test_images_of_another_size_are_resized():
    module = Classifier(config()).eval()
    flat = torch.full((1, 1, 50, 50), 0.7)
    with torch.no_grad():
        assert torch.allclose(module(flat), module(torch.full((1, 1, 32, 32), 0.7)), atol=1e-5)


def test_a_local_file_of_colour_weights_serves_grey_images(tmp_path):
    torch.manual_seed(0)
    colour = Classifier(config("mobilenetv2_100", channels=3)).eval()
    weights = {name: value.clone() for name, value in colour.backbone.state_dict().items()}
    save_file(weights | {"classifier.weight": torch.zeros(10, 1280)}, tmp_path / "w.safetensors")
    torch.manual_seed(1)
    grey = Classifier(config("mobilenetv2_100")).eval()
    assert load_backbone(grey, tmp_path / "w.safetensors").coverage == 1
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(grey.features(images), colour.features(images), atol=1e-4)


def test_a_file_of_another_architecture(tmp_path):
    save_file({"conv.weight": torch.zeros(2, 2)}, tmp_path / "w.safetensors")
    with pytest.raises(CoverageError, match="no key has the same name"):
        load_backbone(Classifier(config("mobilenetv2_100")), tmp_path / "w.safetensors")


def test_what_cannot_be_built_says_why():
    with pytest.raises(CrossprobeError, match="timm knows no model 'densenet12'; near names: densenet121"):
        Classifier(config("densenet12"))
    with pytest.raises(CrossprobeError, match="gives no feature maps; choose a convolutional one"):
        Classifier(config("vit_tiny_patch16_224", image_size=224))
    with pytest.raises(CrossprobeError, match=r"inception_v3.*32 px.*raise image_size"):
        Classifier(config("inception_v3"))
    with pytest.raises(ValueError, match="too small for 6 blocks"):
        config(small_cnn={"filters": (2,) * 6})
    with pytest.raises(ValueError, match="must differ"):
        config(classes=("a", "a"))
