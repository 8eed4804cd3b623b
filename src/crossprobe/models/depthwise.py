"""Depthwise convolutions that a processor can train in half precision without losing time by it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SinglePrecisionDepthwise(nn.Conv2d):
    """A depthwise convolution that leaves autocast on a processor, and is itself everywhere else.

    In bfloat16 the backward pass of a depthwise filter that strides, or is wider than 3 px, takes a processor
    5 to 20 times as long as in float32: EfficientNet-B0 as a whole then trains slower than in float32.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, C, H / stride, W / stride], in autocast's precision where it is on."""
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float()).to(torch.get_autocast_dtype("cpu"))


def protect_depthwise(module: nn.Module) -> None:
    """Replaces the depthwise convolutions below a module that lose by half precision; weights stay theirs.

    Args:
        module: Changed in place. Keys of the state dict stay as they are.
    """
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is nn.Conv2d and _loses(part):
                setattr(parent, name, _protected(part))


def _loses(convolution: nn.Conv2d) -> bool:
    depthwise = 1 < convolution.groups == convolution.in_channels == convolution.out_channels
    return depthwise and (max(convolution.stride) > 1 or max(convolution.kernel_size) > 3)


def _protected(convolution: nn.Conv2d) -> SinglePrecisionDepthwise:
    protected = SinglePrecisionDepthwise(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        convolution.dilation,  # type: ignore[arg-type]
        convolution.groups,
        convolution.bias is not None,
        convolution.padding_mode,
        device="meta",
    )
    protected.weight, protected.bias = convolution.weight, convolution.bias
    return protected.train(convolution.training)
