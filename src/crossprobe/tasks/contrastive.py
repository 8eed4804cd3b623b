"""Contrastive learning as a task of the training loop (requirement S3-8)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.projection import ContrastiveModel, ProjectionConfig
from crossprobe.ssl.augment import UNIFORMS_PER_VIEW, ContrastiveAugmentSettings, contrastive_view
from crossprobe.ssl.frame_sampler import FrameSampler, FrameSamplerSettings
from crossprobe.ssl.nt_xent import NtXentResult, NtXentSettings, mt_nxent
from crossprobe.training.counter_random import uniform
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.ranks import Ranks
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.seeding import seeded
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Job

_FIRST_VIEW, _SECOND_VIEW, _RANDOM_MASK = 211, 212, 213


class ContrastiveJob(Job):
    """A `ContrastiveTask` as plain settings."""

    model: TransUNetConfig
    projection: ProjectionConfig
    augment: ContrastiveAugmentSettings
    sampling: FrameSamplerSettings
    loss: NtXentSettings
    scaling: InputScaling

    def build(
        self, training: FrameSource, validation: FrameSource, settings: TrainingSettings, runtime: Runtime
    ) -> ContrastiveTask:
        """Builds the task with weights drawn from the seed."""
        with seeded(settings.seed):
            module = ContrastiveModel(self.model, self.projection)
        return ContrastiveTask(
            module, training, validation, settings, self.augment, self.sampling, self.loss, self.scaling,
            runtime,
        )  # fmt: skip


class ContrastiveTask:
    """Trains an encoder to know two views of a frame from all other frames.

    Among several processes each computes the views of its share, and all embeddings are gathered: negatives
    come from the whole batch, however many share it. A share too large for memory is embedded in parts whose
    activations are dropped and computed again on the way back (Gao et al. 2021, arXiv:2101.06983, on
    Chen et al. 2016, arXiv:1604.06174): the loss is that of the whole batch, for one more forward pass.

    Attributes:
        at_once: Frames whose two views are embedded together; None: all of a share.

    Args:
        module: Encoder and projection head.
        training: Unlabelled training frames.
        selection: Unlabelled frames of other patients; their views are the same at every validation.
        settings: Budget; its batch size counts frames, each of which gives two views.
        augment: Strength of the views.
        sampling: Which frames meet in a batch.
        loss: Temperature, frame gap and control.
        scaling: How pixels become model input.
        runtime: Device and precision.
    """

    figure = "contrastive_loss"
    whole_batch = True
    at_once: int | None = None

    def __init__(
        self,
        module: ContrastiveModel,
        training: FrameSource,
        selection: FrameSource,
        settings: TrainingSettings,
        augment: ContrastiveAugmentSettings,
        sampling: FrameSamplerSettings,
        loss: NtXentSettings,
        scaling: InputScaling,
        runtime: Runtime,
    ) -> None:
        self.module = runtime.prepare(module)
        self._training, self._selection = training, selection
        self._video, self._frame = _identities(training)
        self.sampler = FrameSampler(
            self._video.numpy(), self._frame.numpy(), sampling, settings.batch_size, settings.seed
        )
        self._seed, self._batch_size = settings.seed, settings.batch_size
        self._augment, self._loss, self._scaling, self._runtime = augment, loss, scaling, runtime

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Computes MT-NXent over two fresh views of a batch, or of this process's share of it."""
        result = self._contrast(
            self._training, self._video, self._frame, batch, self._seed, self._runtime.ranks, self.at_once
        )
        counts: dict[str, float | Tensor] = {
            "masked_pairs_per_anchor": result.masked_pairs_per_anchor,
            "negatives_per_anchor": result.negatives_per_anchor,
        }
        return result.loss, counts

    def prefetch(self, batch: Batch) -> None:
        """Begins to fetch the frames of the next batch."""
        self._training.prefetch(batch.rows)

    def names(self, rows: Tensor) -> list[str]:
        """Names training frames by video and number."""
        return self._training.names(rows)

    def validate(self, size: int) -> dict[str, float]:
        """Computes the mean loss over the selection frames in fixed batches.

        A validation batch has `batch_size` frames, or all there are if they are fewer, in one process however
        many train together: negatives come from it. Embeddings are computed `size` frames at once.
        """
        video, frame = _identities(self._selection)
        count = len(self._selection)
        order = ShuffledSampler(count, min(self._batch_size, count), seed=0)
        batches = [order.batch(step) for step in range(max(1, count // order.batch_size))]
        ranks, alone = self._runtime.ranks, Ranks()
        losses = [
            self._contrast(self._selection, video, frame, batch, 0, alone, size).loss
            for batch in ranks.share(batches)
        ]
        mean = float(torch.stack(losses).mean()) if losses else 0.0
        return {self.figure: ranks.mean(mean, len(losses), self._runtime.device)}

    def _contrast(
        self,
        source: FrameSource,
        video: Tensor,
        frame: Tensor,
        batch: Batch,
        seed: int,
        ranks: Ranks,
        size: int | None = None,
    ) -> NtXentResult:
        """Loss of a batch, whose embeddings are computed all at once or `size` frames at once."""
        images = source.images(batch.rows)
        rows, epochs = batch.rows.to(images.device), batch.epochs.to(images.device)
        views = [
            contrastive_view(images, uniform(UNIFORMS_PER_VIEW, seed, epochs, rows, stream), self._augment)
            for stream in (_FIRST_VIEW, _SECOND_VIEW)
        ]
        first, second = self._embed(torch.cat(views), 2 * (size or len(images))).chunk(2)
        everyone = ranks.gather(rows)
        random_mask = anchors = None
        if self._loss.control == "random_mask":
            random_mask = uniform(len(everyone), seed, epochs, rows, _RANDOM_MASK)
        if ranks.count > 1:
            anchors = torch.arange(len(rows), device=rows.device) + ranks.rank * len(rows)
        everyone_here = everyone.cpu()
        return mt_nxent(
            ranks.gather(first.float()),
            ranks.gather(second.float()),
            video[everyone_here].to(images.device),
            frame[everyone_here].to(images.device),
            self._loss.temperature,
            self._loss.frame_gap,
            anchors=anchors,
            random_mask=random_mask,
        )

    def _embed(self, views: Tensor, size: int) -> Tensor:
        """Embeds views, `size` at once; of several parts none keeps its activations for the way back."""
        parts = views.split(size)
        with self._runtime.autocast():
            if len(parts) == 1 or not torch.is_grad_enabled():
                return torch.cat([self._project(part) for part in parts])
            return torch.cat([checkpoint(self._project, part, use_reentrant=False) for part in parts])

    def _project(self, views: Tensor) -> Tensor:
        return self.module(self._scaling.apply(views))


def _identities(source: FrameSource) -> tuple[Tensor, Tensor]:
    """Video and original frame number of every row, int64 [N] each."""
    frames = source.store.manifest.iloc[source.rows]
    codes = pd.factorize(frames["video"])[0]
    return (
        torch.from_numpy(codes.astype(np.int64)),
        torch.from_numpy(frames["frame"].to_numpy().astype(np.int64)),
    )
