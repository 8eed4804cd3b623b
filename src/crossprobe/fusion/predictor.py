"""Trained branches that look at the same frames: the way from pixels to probabilities."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.recorded_graphs import RecordedGraphs
from crossprobe.models.checkpoint import Checkpoint, load_weights
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.inference_form import inference_form
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime


@dataclass(frozen=True)
class Branch:
    """One trained segmenter with the scaling of its input."""

    module: TransUNet
    scaling: InputScaling


class Predictor:
    """One or several branches on one device.

    In single precision, in which everything is scored, branches run as they were trained, to the last bit.
    In half precision they run in their inference form, which is made when it is first needed.

    Args:
        branches: Segmenters of one image size.
        runtime: Device, precision and the short cuts of its `inference` settings.
    """

    def __init__(self, branches: Sequence[Branch], runtime: Runtime) -> None:
        sizes = {branch.module.config.image_size for branch in branches}
        if len(sizes) != 1:
            raise CrossprobeError(f"branches must share one image size, got {sorted(sizes)}")
        self.branches, self.runtime, self.size = list(branches), runtime, sizes.pop()
        self.inference = runtime.settings.inference

    @classmethod
    def from_checkpoints(cls, checkpoints: Sequence[Checkpoint], runtime: Runtime) -> Predictor:
        """Rebuilds branches from their checkpoints.

        Args:
            checkpoints: Segmenters, as fine-tuning leaves them.
            runtime: Device, precision and short cuts.

        Returns:
            The predictor, in evaluation mode.

        Raises:
            CrossprobeError: If a checkpoint holds something else than a segmenter.
            CoverageError: If weights and configuration do not belong together.
        """
        return cls([_branch(checkpoint, runtime) for checkpoint in checkpoints], runtime)

    @torch.inference_mode()
    def logits(self, images: np.ndarray | Tensor) -> Tensor:
        """Runs every branch on a batch of frames.

        Args:
            images: uint8 [B, S, S].

        Returns:
            float32 [branches, B, 1, S, S], before the sigmoid, on the runtime's device.
        """
        return self._run(torch.as_tensor(images).to(self.runtime.device))

    @functools.cached_property
    def _run(self) -> Callable[[Tensor], Tensor]:
        """From uint8 [B, S, S] on the device to float32 [branches, B, 1, S, S], as the settings ask for."""
        short = self.runtime.bf16 and self.inference.folded
        run = self._inference_form() if short else self._plain
        asked = self.inference.cuda_graphs
        if self.runtime.device.type == "cuda" and (short if asked == "auto" else asked):
            return RecordedGraphs(run, self.inference.recorded_batch_sizes)
        return run

    def _plain(self, images: Tensor) -> Tensor:
        batch = images.unsqueeze(1).float().div_(255)
        if self.runtime.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with self.runtime.autocast():
            outputs = [branch.module(branch.scaling.apply(batch)) for branch in self.branches]
        return torch.stack([output.float() for output in outputs])

    def _inference_form(self) -> Callable[[Tensor], Tensor]:
        on_processor = self.runtime.device.type == "cpu"
        forms: list[Callable[[Tensor], Tensor]] = [
            inference_form(branch.module, torch.bfloat16, for_processor=on_processor)
            for branch in self.branches
        ]
        if self.inference.compiled:
            forms = [torch.compile(form) for form in forms]

        def run(images: Tensor) -> Tensor:
            batch = images.unsqueeze(1).float().div_(255)
            outputs = [
                form(branch.scaling.apply(batch).bfloat16())
                for form, branch in zip(forms, self.branches, strict=True)
            ]
            return torch.stack(outputs).float()

        return run


def _branch(checkpoint: Checkpoint, runtime: Runtime) -> Branch:
    if checkpoint.config.get("form") != "segmenter":
        raise CrossprobeError(
            f"a segmenter's checkpoint is needed, this one is of form '{checkpoint.config.get('form')}'"
        )
    module = TransUNet(TransUNetConfig.model_validate(checkpoint.config["model"]))
    load_weights(module, checkpoint.weights)
    runtime.prepare(module).eval()
    return Branch(module, InputScaling.model_validate(checkpoint.config["scaling"]))
