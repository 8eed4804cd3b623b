"""Protected depthwise convolutions: the same weights, keys and function; single precision under autocast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossprobe.models.depthwise import SinglePrecisionDepthwise, protect_depthwise
from crossprobe.models.timm_models import create_timm_model


def block(kernel: int, stride: int, groups: int = 8, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=groups, bias=bias), nn.ReLU())


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "protected"),
    [(5, 1, 8, True), (3, 2, 8, True), (3, 1, 8, False), (5, 2, 1, False), (5, 2, 4, False)],
)
def test_only_what_loses_is_replaced(kernel, stride, groups, protected):
    module = block(kernel, stride, groups)
    protect_depthwise(module)
    assert isinstance(module[0], SinglePrecisionDepthwise) == protected


@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_same_convolution(bias):
    module = block(5, 2, bias=bias)
    images = torch.randn(2, 8, 9, 9)
    keys, expected = list(module.state_dict()), module(images)
    protect_depthwise(module)
    assert list(module.state_dict()) == keys
    assert torch.equal(module(images), expected)


def test_under_autocast_it_computes_in_single_precision_and_goes_on_in_half():
    module = block(5, 2)
    protect_depthwise(module)
    images = torch.randn(2, 8, 9, 9).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module[0](images)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, module[0](images.float()).bfloat16())


def test_efficientnet_keeps_its_function_and_its_gradients():
    torch.manual_seed(0)
    plain = create_timm_model("efficientnet_b0", in_chans=1, num_classes=3)
    images = torch.randn(2, 1, 64, 64)
    plain.train()
    expected = torch.autograd.grad(plain(images).square().sum(), plain.conv_stem.weight)
    protect_depthwise(plain)
    assert sum(isinstance(part, SinglePrecisionDepthwise) for part in plain.modules()) > 8
    found = torch.autograd.grad(plain(images).square().sum(), plain.conv_stem.weight)
    torch.testing.assert_close(found, expected)
