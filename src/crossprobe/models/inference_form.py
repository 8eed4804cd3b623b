"""A trained segmenter rewritten for inference: the same function of its grey input, less work a frame.

What depends on weights alone is computed once: filters are standardised, batch norms of the decoder become
part of the convolutions before them, and a first layer of three channels that all get the same grey image
becomes one of a single channel. Group norms depend on the image and stay. Everything is then held in the
precision it is used in, where autocast casts every weight anew in every call.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from crossprobe.models.decoder import ConvolutionNormReLU
from crossprobe.models.hybrid_resnet import GroupNorm, StandardisedConvolution
from crossprobe.models.transunet import TransUNet

# Below so many pixels torch's kernel for channels-last memory goes through a group's channels one by one.
_FEW_PIXELS = 1024
_FEW_CHANNELS = 16


class ProcessorGroupNorm(nn.GroupNorm):
    """Group normalisation of half-precision features that lie in memory with channels last.

    For small maps of groups of few channels, which projected shortcuts have at one channel a group, torch's
    kernel takes up to twenty times as long as the sums written out. Statistics are in single precision.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalises features [B, C, H, W]."""
        batch, channels, height, width = features.shape
        per_group = channels // self.num_groups
        if per_group >= _FEW_CHANNELS or height * width >= _FEW_PIXELS:
            return super().forward(features)
        values = features.permute(0, 2, 3, 1).flatten(1, 2)
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        grouped = (batch, self.num_groups, per_group)
        count = height * width * per_group
        mean = values.sum(dim=1).view(grouped).sum(dim=2, keepdim=True) / count
        square = values.square().sum(dim=1).view(grouped).sum(dim=2, keepdim=True) / count
        inverse = (square - mean.square()).clamp_min(0).add(self.eps).rsqrt()
        scale = self.weight.view(grouped[1:]) * inverse
        shift = self.bias.view(grouped[1:]) - scale * mean
        normed = torch.addcmul(shift.view(batch, 1, channels), values, scale.view(batch, 1, channels))
        return normed.to(features.dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)


def inference_form(
    module: TransUNet, precision: torch.dtype = torch.float32, for_processor: bool = False
) -> TransUNet:
    """Makes the inference form of a segmenter; the segmenter itself is left as it is.

    Args:
        module: In any mode; the form is that of evaluation.
        precision: Type of the form's weights and of the images it takes. In float32 outputs differ from the
            module's by rounding; in bfloat16 by as much as under autocast.
        for_processor: Use `ProcessorGroupNorm`, which a processor is faster with in bfloat16.

    Returns:
        A module on the same device that maps grey images [B, 1, S, S] to logits [B, classes, S, S], both of
        that precision. Its state dict is not that of a `TransUNet`, so it cannot be trained or saved.
    """
    form = copy.deepcopy(module).eval().requires_grad_(False)
    for parent in list(form.modules()):
        for name, part in list(parent.named_children()):
            replacement = _replacement(part, for_processor)
            if replacement is not None:
                setattr(parent, name, replacement)
    _take_grey_images(form)
    form = form.to(dtype=precision)
    return form.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _replacement(part: nn.Module, for_processor: bool) -> nn.Module | None:
    if isinstance(part, StandardisedConvolution):
        return _plain_convolution(part, part.standardised())
    if isinstance(part, GroupNorm):
        # Reads half precision as it is: its statistics are taken in single precision inside the kernel.
        kind = ProcessorGroupNorm if for_processor else nn.GroupNorm
        plain = kind(part.num_groups, part.num_channels, part.eps)
        plain.weight, plain.bias = part.weight, part.bias
        return plain
    if isinstance(part, ConvolutionNormReLU):
        return nn.Sequential(fuse_conv_bn_eval(part.convolution, part.norm), nn.ReLU(inplace=True))
    return None


def _plain_convolution(like: nn.Conv2d, filters: Tensor) -> nn.Conv2d:
    channels_out, channels_in, height, width = filters.shape
    convolution = nn.Conv2d(channels_in, channels_out, (height, width), bias=False, device="meta")
    convolution.stride, convolution.padding = like.stride, like.padding
    convolution.weight = nn.Parameter(filters, requires_grad=False)
    return convolution


def _take_grey_images(form: TransUNet) -> None:
    """Adds up the stem's filters over channels that are copies of one another."""
    stem = form.encoder.resnet.stem_convolution
    if stem.in_channels > 1:
        summed = _plain_convolution(stem, stem.weight.sum(dim=1, keepdim=True))
        form.encoder.resnet.stem_convolution = summed
        form.config = form.encoder.config = form.config.model_copy(update={"channels": 1})
