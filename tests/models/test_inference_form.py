"""The inference form computes what the model computes, with what depends on weights alone done before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crossprobe.models.hybrid_resnet import StandardisedConvolution
from crossprobe.models.inference_form import ProcessorGroupNorm, inference_form
from crossprobe.models.transunet import TransUNet, TransUNetConfig


def trained(**changes) -> TransUNet:
    """A model whose norms are not the identity."""
    module = TransUNet(TransUNetConfig.mini(image_size=64, **changes))
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.1)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("for_processor", [False, True])
def test_single_precision_differs_by_rounding_only(channels, for_processor):
    module, images = trained(channels=channels), torch.rand(3, 1, 64, 64)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    form = inference_form(module, for_processor=for_processor)
    with torch.inference_mode():
        expected = module(images)
        torch.testing.assert_close(form(images), expected, rtol=1e-4, atol=1e-4 * expected.std().item())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    kinds = {type(part) for part in form.modules()}
    assert not kinds & {StandardisedConvolution, nn.BatchNorm2d}
    assert (ProcessorGroupNorm in kinds) == for_processor
    assert form.encoder.resnet.stem_convolution.weight.shape[1] == 1


def test_double_precision_is_the_same_function():
    module, images = trained(channels=3).double(), torch.rand(2, 1, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        found = inference_form(module, torch.float64, for_processor=True)(images)
        torch.testing.assert_close(found, module(images), rtol=1e-9, atol=1e-11)


def test_half_precision_is_as_near_as_autocast():
    module, images = trained(), torch.rand(4, 1, 64, 64)
    form = inference_form(module, torch.bfloat16, for_processor=True)
    with torch.inference_mode():
        exact = module(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            usual = (module(images).float() - exact).square().mean()
        found = (form(images.bfloat16()).float() - exact).square().mean()
    assert 0 < found < 1.5 * usual
    assert all(weight.dtype == torch.bfloat16 for weight in form.parameters())


@pytest.mark.parametrize(("channels", "groups", "side"), [(64, 64, 14), (64, 8, 20), (64, 2, 14), (8, 8, 40)])
def test_the_processors_group_norm_is_torchs(channels, groups, side):
    norm = ProcessorGroupNorm(groups, channels, eps=1e-6)
    torch.nn.init.normal_(norm.weight, 1, 0.2)
    torch.nn.init.normal_(norm.bias)
    features = (3 + torch.randn(2, channels, side, side)).contiguous(memory_format=torch.channels_last)
    expected = nn.functional.group_norm(
        features.double(), groups, norm.weight.double(), norm.bias.double(), 1e-6
    )
    with torch.inference_mode():
        torch.testing.assert_close(norm(features).double(), expected, rtol=1e-4, atol=1e-4)
        found = norm.bfloat16()(features.bfloat16())
        assert found.dtype == torch.bfloat16
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), expected, rtol=3e-2, atol=3e-2)
        flat = norm(torch.full_like(features, 7).bfloat16())
        assert torch.isfinite(flat).all()
