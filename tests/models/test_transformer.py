"""Attention by products is attention: against PyTorch's own kernel, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.transformer import SelfAttention, attend_by_products


def fused(stacked: torch.Tensor) -> torch.Tensor:
    query, key, value = stacked.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("tokens", "heads", "width"), [(9, 1, 4), (64, 4, 32), (196, 12, 64)])
def test_products_give_what_the_fused_kernel_gives(tokens, heads, width):
    stacked = torch.randn(2, tokens, 3, heads, width, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, tokens, heads * width, dtype=torch.float64)
    found, expected = attend_by_products(stacked), fused(stacked)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    (own,), (other,) = (torch.autograd.grad(each, stacked, towards) for each in (found, expected))
    torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


def test_dropout_drops_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    stacked = torch.zeros(1, 400, 3, 1, 8)
    stacked[:, :, 2] = 1.0
    out = attend_by_products(stacked, dropout=0.25)
    assert out.std() > 0.01, "every output is a mean over other weights"
    assert out.mean() == pytest.approx(1.0, abs=0.01)


def test_half_precision_on_a_processor_is_as_near_as_the_fused_kernel():
    attention = SelfAttention(TransUNetConfig.mini(image_size=64))
    tokens = torch.randn(2, 16, 128)
    exact = attention(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention(tokens)
        stacked = attention.query_key_value(tokens).reshape(2, 16, 3, 4, 32)
        usual = attention.output(fused(stacked))
    error, expected = ((each.float() - exact).square().mean() for each in (found, usual))
    assert 0 < error < 2 * expected
