"""The plain loop: one sample at a time from PNG files, single precision, no short cut of any kind.

Written for comparison, in the style that is usual where nobody has looked at speed: open, decode, pad,
resize, transform, stack; a contrastive loss over all similarities; branches one after the other.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor, nn

HIDDEN_SHARE = 0.6


def opened(png: bytes, size: int) -> Image.Image:
    """Decodes a frame, pads it to a square and resizes it."""
    frame = Image.open(io.BytesIO(png)).convert("L")
    canvas = Image.new("L", (max(frame.size), max(frame.size)))
    canvas.paste(frame, (0, 0))
    return canvas.resize((size, size), Image.Resampling.BILINEAR)


def as_tensor(image: Image.Image) -> Tensor:
    """float32 [1, S, S] in [0, 1]."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None]


def decoded(pngs: Sequence[bytes], size: int) -> Tensor:
    """A batch of frames, float32 [B, 1, S, S]."""
    return torch.stack([as_tensor(opened(png, size)) for png in pngs])


def random_view(image: Image.Image) -> Tensor:
    """A random crop, flip, brightness and contrast of one frame."""
    side = image.size[0]
    box = (0, 0, side, side)
    for _ in range(10):
        area, aspect = random.uniform(0.5, 1.0), math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(side * math.sqrt(area * aspect)), round(side * math.sqrt(area / aspect))
        if width <= side and height <= side:
            left, top = random.randint(0, side - width), random.randint(0, side - height)
            box = (left, top, left + width, top + height)
            break
    view = image.crop(box).resize((side, side), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < 0.8:
        view = ImageEnhance.Brightness(view).enhance(random.uniform(0.6, 1.4))
        view = ImageEnhance.Contrast(view).enhance(random.uniform(0.6, 1.4))
    return as_tensor(view)


def two_views(pngs: Sequence[bytes], size: int) -> Tensor:
    """Both views of a batch of frames, first views first: [2 B, 1, S, S]."""
    images = [opened(png, size) for png in pngs]
    return torch.stack([random_view(image) for _ in range(2) for image in images])


def masked(pngs: Sequence[bytes], size: int, cell_px: int) -> tuple[Tensor, Tensor]:
    """Frames and the pixels that are hidden of them, both [B, 1, S, S]."""
    grid = size // cell_px
    masks = []
    for _ in pngs:
        cells = np.zeros(grid * grid, dtype=np.float32)
        cells[np.random.permutation(grid * grid)[: math.ceil(HIDDEN_SHARE * grid * grid)]] = 1  # noqa: NPY002
        masks.append(torch.from_numpy(np.kron(cells.reshape(grid, grid), np.ones((cell_px, cell_px)))))
    return decoded(pngs, size), torch.stack(masks)[:, None].float()


def contrastive_loss(first: Tensor, second: Tensor, left_out: Tensor, temperature: float) -> Tensor:
    """MT-NXent by cross entropy over all similarities; `left_out` [B, B]: rows that do not count."""
    rows = len(first)
    vectors = F.normalize(torch.cat([first, second]), dim=1)
    index = torch.arange(2 * rows, device=first.device)
    positive = (index + rows) % (2 * rows)
    mask = left_out.repeat(2, 2)
    mask[index, index], mask[index, positive] = True, False
    return F.cross_entropy((vectors @ vectors.T / temperature).masked_fill(mask, -torch.inf), positive)


def reconstruction_loss(reconstruction: Tensor, images: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error over hidden pixels."""
    return ((reconstruction - images).abs() * hidden).sum() / hidden.sum() / images.shape[1]


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Half cross entropy, half one minus Dice."""
    probability = logits.sigmoid()
    dice = (2 * (probability * masks).sum() + 1e-5) / (probability.sum() + masks.sum() + 1e-5)
    return 0.5 * F.binary_cross_entropy_with_logits(logits, masks) + 0.5 * (1 - dice)


def step(module: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One update of the weights."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
