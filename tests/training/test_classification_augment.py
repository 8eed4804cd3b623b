"""Augmentation of single images: nothing where nothing is asked, shear as drawn by hand."""

from __future__ import annotations

import math

import pytest
import torch

from crossprobe.training.classification_augment import (
    UNIFORMS_PER_IMAGE,
    ClassificationAugmentSettings,
    augment_images,
)


def middle(count: int) -> torch.Tensor:
    """Numbers in the middle of every range: no flip, no change."""
    return torch.full((count, UNIFORMS_PER_IMAGE), 0.5)


def test_nothing_is_asked_and_nothing_changes():
    images = torch.rand(3, 1, 9, 9)
    numbers = torch.rand(3, UNIFORMS_PER_IMAGE)
    assert torch.equal(augment_images(images, numbers, ClassificationAugmentSettings.none()), images)


def test_shear_moves_rows_across_in_proportion_to_their_depth():
    side = 33
    images = torch.zeros(1, 1, side, side)
    images[0, 0, :, 16] = 1
    settings = ClassificationAugmentSettings.none().model_copy(update={"shear_degrees": 30.0})
    numbers = middle(1)
    numbers[0, 9] = 1.0 - 1e-7
    sheared = augment_images(images, numbers, settings)[0, 0]
    columns = torch.arange(side, dtype=torch.float)
    place = (sheared * columns).sum(1) / sheared.sum(1)
    for row in (6, 16, 26):
        assert place[row].item() == pytest.approx(16 - math.tan(math.radians(30)) * (row - 16), abs=0.1)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="square"):
        augment_images(
            torch.rand(2, 1, 4, 5), torch.rand(2, UNIFORMS_PER_IMAGE), ClassificationAugmentSettings()
        )
