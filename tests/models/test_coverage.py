"""Position embeddings of another image size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.models.checkpoint import load_weights
from crossprobe.models.coverage import interpolate_positions
from crossprobe.models.transunet import TransUNet, TransUNetConfig


@given(st.integers(2, 9), st.integers(2, 9), st.floats(-3, 3))
def test_equal_positions_stay_equal(old: int, new: int, value: float):
    resized = interpolate_positions(torch.full((1, old * old, 2), value), new * new)
    torch.testing.assert_close(resized, torch.full((1, new * new, 2), value))


def test_rows_and_columns_keep_their_places():
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    positions = torch.stack([row, column], dim=-1).reshape(1, 64, 2)
    resized = interpolate_positions(positions, 16 * 16).reshape(16, 16, 2)
    # Cell centres of a grid twice as fine, away from the border, where the cubic kernel sees past the edge.
    centres = (torch.arange(16.0) + 0.5) / 2 - 0.5
    inner = slice(4, 12)
    torch.testing.assert_close(resized[inner, inner, 0], centres[inner, None].expand(8, 8))
    torch.testing.assert_close(resized[inner, inner, 1], centres[None, inner].expand(8, 8))


@pytest.mark.parametrize(("old", "new"), [(96, 128), (128, 96)])
def test_loading_at_another_size_interpolates_positions_alone(old: int, new: int):
    source = TransUNet(TransUNetConfig.mini(old)).state_dict()
    target = TransUNet(TransUNetConfig.mini(new))
    report = load_weights(target, source)
    name = "encoder.position_embeddings"
    assert report.interpolated == (name,)
    assert report.coverage == 1.0
    loaded = target.state_dict()
    expected = interpolate_positions(source[name], (new // 16) ** 2)
    assert all(torch.equal(loaded[key], expected if key == name else source[key]) for key in loaded)
