"""Trained branches that look at the same frames: the way from pixels to probabilities."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.recorded_graphs import RecordedGraphs
from crossprobe.models.checkpoint import Checkpoint, rebuild
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.inference_form import inference_form
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime


@dataclass(frozen=True)
class Branch:
    """One trained segmenter with the scaling of its input.

    Attributes:
        module: The segmenter.
        scaling: How pixels become model input.
        mirrored: Whether it answers with the mean of its logits for a frame and for the mirrored frame.
    """

    module: TransUNet
    scaling: InputScaling
    mirrored: bool = False

    def ask(self, run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Runs the module, in whatever form, on scaled images, and on their mirror images where asked for.

        Args:
            run: From images [B, C, S, S] to logits [B, 1, S, S].
            images: In [0, 1], before scaling.

        Returns:
            Logits, float32 [B, 1, S, S].
        """
        scaled = self.scaling.apply(images)
        logits = run(scaled).float()
        return (logits + run(scaled.flip(-1)).float().flip(-1)) / 2 if self.mirrored else logits


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

    def in_single_precision(self) -> Predictor:
        """Gives a predictor of the same branches that runs them as they were trained, without short cuts."""
        return Predictor(self.branches, dataclasses.replace(self.runtime, bf16=False))

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
            return torch.stack([branch.ask(branch.module, batch) for branch in self.branches])

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
            return torch.stack(
                [
                    branch.ask(lambda scaled, form=form: form(scaled.bfloat16()), batch)  # type: ignore[misc]
                    for form, branch in zip(forms, self.branches, strict=True)
                ]
            )

        return run


def _branch(checkpoint: Checkpoint, runtime: Runtime) -> Branch:
    if checkpoint.left_out:
        raise CrossprobeError(f"this arm was not trained: {checkpoint.config['reason']}")
    if checkpoint.config.get("form") != "segmenter":
        raise CrossprobeError(
            f"a segmenter's checkpoint is needed, this one is of form '{checkpoint.config.get('form')}'"
        )
    config = TransUNetConfig.model_validate(checkpoint.config["model"])
    module = rebuild(lambda: TransUNet(config), checkpoint.weights)
    runtime.prepare(module).eval()
    scaling = InputScaling.model_validate(checkpoint.config["scaling"])
    return Branch(module, scaling, checkpoint.config.get("mirrored", False))
