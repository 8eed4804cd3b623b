"""Writes a segmenter as ONNX, for programs that run without torch."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from crossprobe.errors import CrossprobeError
from crossprobe.models.inference_form import inference_form
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet

INPUT = "images"


class ScaledSegmenter(nn.Module):
    """A segmenter with what comes before it: bytes in, logits out.

    Args:
        module: A trained segmenter; its single-precision inference form is made.
        scaling: How pixels become model input.
        mirrored: Answer with the mean over each image and its mirror image.
    """

    def __init__(self, module: TransUNet, scaling: InputScaling, mirrored: bool = False):
        super().__init__()
        self.form = inference_form(module)
        self.scaling, self.mirrored = scaling, mirrored

    def forward(self, images: Tensor) -> Tensor:
        """Maps uint8 images [B, S, S] to logits [B, classes, S, S]."""
        scaled = self.scaling.apply(images.unsqueeze(1).float() / 255)
        logits = self.form(scaled)
        return (logits + self.form(scaled.flip(-1)).flip(-1)) / 2 if self.mirrored else logits


def export_segmenter(module: TransUNet, scaling: InputScaling, path: Path, mirrored: bool = False) -> Path:
    """Writes one branch: `images` uint8 [batch, S, S] to `logits` float32 [batch, classes, S, S].

    Args:
        module: The branch.
        scaling: Of its checkpoint.
        path: The `.onnx` file; replaced if there is one.
        mirrored: As its checkpoint's configuration says.

    Returns:
        The file.

    Raises:
        CrossprobeError: If the packages of the extra `onnx` are missing.
    """
    return export_module(
        ScaledSegmenter(module, scaling, mirrored), module.config.image_size, ["logits"], path
    )


def export_module(module: nn.Module, size: int, outputs: list[str], path: Path) -> Path:
    """Writes a module of square images; the batch may be of any size.

    Args:
        module: Takes uint8 images [B, S, S], gives a tensor or a tuple of them.
        size: Side of the images, px.
        outputs: Names of the outputs, in order.
        path: The `.onnx` file; replaced if there is one.

    Returns:
        The file; weights beyond 2 GB would lie beside it.

    Raises:
        CrossprobeError: If the packages of the extra `onnx` are missing.
    """
    try:
        import onnxscript  # noqa: F401 - torch needs it and says so less plainly
    except ImportError as error:
        raise CrossprobeError(
            "writing ONNX needs packages that are not installed; from the checkout of crossprobe: "
            'pip install -e ".[onnx]"'
        ) from error
    # Two, because torch takes a batch of one for a batch that is always of one.
    example = torch.zeros(2, size, size, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=4096)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    # The exporter reports its progress on the terminal.
    with contextlib.redirect_stdout(io.StringIO()), _quiet("onnxscript"), torch.no_grad():
        program = torch.onnx.export(
            module.cpu().eval(), (example,), dynamo=True, input_names=[INPUT], output_names=outputs,
            dynamic_shapes=({0: batch},), verbose=False,
        )  # fmt: skip
        assert program is not None
        program.save(temporary, external_data=False)
    temporary.replace(path)
    return path


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
