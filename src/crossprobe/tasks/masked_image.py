"""Masked image modelling as a task of the training loop (requirement S3-7)."""

from __future__ import annotations

import torch
from torch import Tensor

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.masked_image_model import MaskedImageModel
from crossprobe.ssl.mim import MimMask, MimSettings, draw_mask, hide, mim_loss, rebuilt
from crossprobe.training.counter_random import normal, uniform
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.seeding import seeded
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Job

_MASK_STREAM, _SPECKLE_STREAM = 201, 202


class MaskedImageJob(Job):
    """A `MaskedImageTask` as plain settings."""

    model: TransUNetConfig
    masking: MimSettings
    scaling: InputScaling

    def build(
        self, training: FrameSource, validation: FrameSource, settings: TrainingSettings, runtime: Runtime
    ) -> MaskedImageTask:
        """Builds the task with weights drawn from the seed."""
        with seeded(settings.seed):
            module = MaskedImageModel(self.model)
        return MaskedImageTask(module, training, validation, settings, self.masking, self.scaling, runtime)


class MaskedImageTask:
    """Trains a TransUNet to rebuild what was hidden of unlabelled frames.

    Args:
        module: Model that maps a partly hidden image to its reconstruction.
        training: Unlabelled training frames.
        selection: Unlabelled frames of other patients; their masks are the same at every validation.
        settings: Budget; its batch size and seed shape order and masks.
        masking: What is hidden and what is compared.
        scaling: How pixels become model input.
        runtime: Device and precision.
    """

    figure = "mim_loss"

    def __init__(
        self,
        module: MaskedImageModel,
        training: FrameSource,
        selection: FrameSource,
        settings: TrainingSettings,
        masking: MimSettings,
        scaling: InputScaling,
        runtime: Runtime,
    ) -> None:
        self.module = runtime.prepare(module)
        self.sampler = ShuffledSampler(len(training), settings.batch_size, settings.seed)
        self._training, self._selection = training, selection
        self._seed = settings.seed
        self._masking, self._scaling, self._runtime = masking, scaling, runtime

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Computes the reconstruction loss of a micro-batch under fresh masks."""
        images = self._training.images(batch.rows)
        return self._loss(images, batch, self._seed)[0], {}

    def names(self, rows: Tensor) -> list[str]:
        """Names training frames by video and number."""
        return self._training.names(rows)

    def validate(self, size: int) -> dict[str, float]:
        """Computes the mean reconstruction loss over the selection frames."""
        total, count = 0.0, 0
        # As many cells are hidden in every frame, so that the mean over batches of any size is the same.
        batches = torch.arange(len(self._selection)).split(size)
        for positions in self._runtime.ranks.share(batches):
            images = self._selection.images(positions)
            loss, _, _ = self._loss(images, Batch(positions, torch.zeros_like(positions)), seed=0)
            total += float(loss) * len(positions)
            count += len(positions)
        mean = self._runtime.ranks.mean(total / max(1, count), count, self._runtime.device)
        return {self.figure: mean}

    def prefetch(self, batch: Batch) -> None:
        """Begins to fetch the frames of the next micro-batch."""
        self._training.prefetch(batch.rows)

    @torch.no_grad()
    def panels(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shows what the model makes of some selection frames.

        Args:
            positions: int64 [B], positions in the selection frames.

        Returns:
            Images, what the model saw of them, and what it rebuilt; each [B, 1, S, S] in [0, 1].
        """
        self.module.eval()
        images = self._selection.images(positions)
        batch = Batch(positions, torch.zeros_like(positions))
        _, mask, reconstruction = self._loss(images, batch, seed=0)
        whole = rebuilt(reconstruction.float(), self._scaling.apply(images), mask, self._masking)
        whole = whole.mean(dim=1, keepdim=True) * self._scaling.std + self._scaling.mean
        return images, hide(images, mask, self._noise(images, batch, seed=0)), whole.clamp(0, 1)

    def _loss(self, images: Tensor, batch: Batch, seed: int) -> tuple[Tensor, MimMask, Tensor]:
        cells = self._masking.grid(images.shape[-1]) ** 2
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        mask = draw_mask(uniform(cells, seed, epochs, rows, _MASK_STREAM), self._masking)
        seen = hide(images, mask, self._noise(images, batch, seed))
        with self._runtime.autocast():
            reconstruction = self.module(self._scaling.apply(seen))
        target = self._scaling.apply(images).expand_as(reconstruction)
        return mim_loss(reconstruction, target, mask, self._masking), mask, reconstruction

    def _noise(self, images: Tensor, batch: Batch, seed: int) -> Tensor | None:
        if self._masking.speckle_share == 0:
            return None
        side = images.shape[-1]
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        return normal(side * side, seed, epochs, rows, _SPECKLE_STREAM).view(-1, 1, side, side)
