"""What is timed: each case does the same work twice, in our way and in the plain one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import plain
from benchmarks.frames import BenchmarkFrames
from benchmarks.machine import Machine
from benchmarks.scale import Scale
from benchmarks.timing import Result, Work, compare
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.models.classifier import Classifier
from crossprobe.models.classifier_config import ClassifierConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.masked_image_model import MaskedImageModel
from crossprobe.models.projection import ContrastiveModel
from crossprobe.models.timm_models import create_timm_model
from crossprobe.models.transunet import TransUNet
from crossprobe.ssl.augment import UNIFORMS_PER_VIEW, ContrastiveAugmentSettings, contrastive_view
from crossprobe.ssl.frame_sampler import FrameSamplerSettings
from crossprobe.ssl.mim import MimSettings, draw_mask, hide
from crossprobe.ssl.nt_xent import NtXentSettings, mt_nxent
from crossprobe.tasks.contrastive import ContrastiveTask
from crossprobe.tasks.masked_image import MaskedImageTask
from crossprobe.tasks.segmentation import SegmentationTask
from crossprobe.training.counter_random import uniform
from crossprobe.training.dice_bce import DiceBceSettings
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.runtime import Runtime
from crossprobe.training.segmentation_augment import SegmentationAugmentSettings
from crossprobe.training.settings import OptimiserSettings, TrainingSettings
from crossprobe.training.task import Task

TEMPERATURE = 0.5
FRAME_GAP = 15
LEARNING_RATE = 1e-4
BACKBONE = "efficientnet_b0"


@dataclass(frozen=True)
class Bench:
    """Everything that a case needs.

    Attributes:
        frames: What is worked on.
        scale: How much.
        runtime: Device and precision of our side.
        machine: Its peaks.
        compiled: Whether our side runs through torch.compile.
    """

    frames: BenchmarkFrames
    scale: Scale
    runtime: Runtime
    machine: Machine
    compiled: bool

    @property
    def masking(self) -> MimSettings:
        """Cells of 32 px, or of 16 px where those do not tile the image."""
        return MimSettings(mask_patch_px=32 if self.frames.size % 32 == 0 else 16)

    def source(self, labels: bool = False) -> FrameSource:
        """Serves all frames as training does."""
        rows = np.arange(len(self.frames))
        # Anything with a store's methods serves; these frames lie in memory.
        return FrameSource(self.frames, rows, self.runtime.device, labels)  # type: ignore[arg-type]

    def compare(
        self, case: str, unit: str, count: int, ours: Work, usual: Work, bf16: bool | None = None
    ) -> Result:
        """Times a case; `bf16` says how our side computes, where it is not the runtime's way."""
        half = self.runtime.bf16 if bf16 is None else bf16

        def plainly() -> object:
            with single_precision():
                return usual()

        return compare(
            case, unit, count, ours, plainly, self.machine, self.runtime.device, self.scale.repeats, half
        )


@contextmanager
def single_precision() -> Iterator[None]:
    """Products as torch does them when nobody asks for less: no TF32 in matrix products."""
    backend = torch.backends.cuda.matmul
    before = backend.fp32_precision
    backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        backend.fp32_precision = before


def decode(bench: Bench) -> Iterator[Result]:
    """Frames from where they are kept to a batch on the device."""
    source, count, size = bench.source(), bench.scale.data_batch, bench.frames.size

    def ours() -> Tensor:
        return source.images(torch.randint(0, len(source), (count,)))

    def usual() -> Tensor:
        chosen = [bench.frames.png_images[row] for row in random.choices(range(len(source)), k=count)]
        return plain.decoded(chosen, size).to(bench.runtime.device)

    yield bench.compare("frames", "images", count, ours, usual, bf16=False)


def views(bench: Bench) -> Iterator[Result]:
    """Frames to the two random views of contrastive learning."""
    source, count, size = bench.source(), bench.scale.data_batch, bench.frames.size
    settings, turn = ContrastiveAugmentSettings(), iter(range(1 << 30))

    def ours() -> list[Tensor]:
        rows, epoch = torch.randint(0, len(source), (count,)), next(turn)
        images, there = source.images(rows), rows.to(bench.runtime.device)
        return [
            contrastive_view(images, uniform(UNIFORMS_PER_VIEW, 0, epoch, there, stream), settings)
            for stream in (1, 2)
        ]

    def usual() -> Tensor:
        chosen = [bench.frames.png_images[row] for row in random.choices(range(len(source)), k=count)]
        return plain.two_views(chosen, size).to(bench.runtime.device)

    yield bench.compare("two views", "images", count, ours, usual, bf16=False)


def hidden_cells(bench: Bench) -> Iterator[Result]:
    """Frames to the input of masked image modelling."""
    source, count, size = bench.source(), bench.scale.data_batch, bench.frames.size
    settings, turn = bench.masking, iter(range(1 << 30))

    def ours() -> Tensor:
        rows, epoch = torch.randint(0, len(source), (count,)), next(turn)
        images, there = source.images(rows), rows.to(bench.runtime.device)
        return hide(images, draw_mask(uniform(settings.grid(size) ** 2, 0, epoch, there, 1), settings))

    def usual() -> Tensor:
        chosen = [bench.frames.png_images[row] for row in random.choices(range(len(source)), k=count)]
        images, hidden = (
            part.to(bench.runtime.device) for part in plain.masked(chosen, size, bench.masking.mask_patch_px)
        )
        return images * (1 - hidden)

    yield bench.compare("masked input", "images", count, ours, usual, bf16=False)


def contrastive_loss(bench: Bench) -> Iterator[Result]:
    """MT-NXent, forward and backward."""
    rows, device = bench.scale.pairs, bench.runtime.device
    first = torch.randn(rows, bench.scale.width, device=device)
    second = first + torch.randn_like(first)
    video = torch.arange(rows, device=device) // 16
    frame = 4 * (torch.arange(rows, device=device) % 16)

    def ours() -> None:
        pair = (first.clone().requires_grad_(), second.clone().requires_grad_())
        mt_nxent(*pair, video, frame, TEMPERATURE, FRAME_GAP).loss.backward()

    def usual() -> None:
        pair = (first.clone().requires_grad_(), second.clone().requires_grad_())
        left_out = (video[:, None] == video) & ((frame[:, None] - frame).abs() < FRAME_GAP)
        plain.contrastive_loss(*pair, left_out, TEMPERATURE).backward()

    yield bench.compare(f"MT-NXent {rows} x {bench.scale.width}", "pairs", rows, ours, usual, bf16=False)


def masked_image_step(bench: Bench) -> Iterator[Result]:
    """A step of masked image modelling, from frames to changed weights."""
    count, source, size = bench.scale.mim_batch, bench.source(), bench.frames.size
    module = MaskedImageModel(bench.scale.model)
    other, optimiser = _plain_side(module, bench)
    task = MaskedImageTask(
        module, source, source, _training(count), bench.masking, InputScaling(), bench.runtime
    )

    def usual() -> None:
        chosen = [bench.frames.png_images[row] for row in random.choices(range(len(source)), k=count)]
        images, hidden = (
            part.to(bench.runtime.device) for part in plain.masked(chosen, size, bench.masking.mask_patch_px)
        )
        images = images.expand(-1, bench.scale.model.channels, -1, -1)
        loss = plain.reconstruction_loss(other(images * (1 - hidden)), images, hidden)
        plain.step(other, optimiser, loss)

    yield bench.compare("MIM step", "images", count, _steps(task, bench), usual)


def contrastive_step(bench: Bench) -> Iterator[Result]:
    """A step of contrastive learning, from frames to changed weights."""
    count, source, size = bench.scale.contrastive_batch, bench.source(), bench.frames.size
    module = ContrastiveModel(bench.scale.model)
    other, optimiser = _plain_side(module, bench)
    task = ContrastiveTask(
        module, source, source, _training(count), ContrastiveAugmentSettings(), FrameSamplerSettings(),
        NtXentSettings(temperature=TEMPERATURE, frame_gap=FRAME_GAP), InputScaling(), bench.runtime,
    )  # fmt: skip
    task.at_once = bench.scale.contrastive_at_once

    def usual() -> None:
        rows = torch.tensor(random.choices(range(len(source)), k=count))
        images = plain.two_views([bench.frames.png_images[row] for row in rows.tolist()], size)
        video, frame = rows // 32, 4 * (rows % 32)
        left_out = (video[:, None] == video) & ((frame[:, None] - frame).abs() < FRAME_GAP)
        first, second = other(images.to(bench.runtime.device)).chunk(2)
        loss = plain.contrastive_loss(first, second, left_out.to(first.device), TEMPERATURE)
        plain.step(other, optimiser, loss)

    yield bench.compare("contrastive step", "images", 2 * count, _steps(task, bench), usual)


def segmentation_step(bench: Bench) -> Iterator[Result]:
    """A step of fine-tuning, from labelled frames to changed weights, without augmentation on either side."""
    count, source, size = bench.scale.segmentation_batch, bench.source(labels=True), bench.frames.size
    module = TransUNet(bench.scale.model)
    other, optimiser = _plain_side(module, bench)
    task = SegmentationTask(
        module, source, source, _training(count), SegmentationAugmentSettings.none(), DiceBceSettings(),
        InputScaling(), bench.runtime,
    )  # fmt: skip

    def usual() -> None:
        rows = random.choices(range(len(source)), k=count)
        images = plain.decoded([bench.frames.png_images[row] for row in rows], size)
        masks = (plain.decoded([bench.frames.png_masks[row] for row in rows], size) > 0.5).float()
        logits = other(images.to(bench.runtime.device))
        plain.step(other, optimiser, plain.segmentation_loss(logits, masks.to(bench.runtime.device)))

    yield bench.compare("fine-tune step", "images", count, _steps(task, bench), usual)


def classification_step(bench: Bench) -> Iterator[Result]:
    """Steps of EfficientNet-B0; the plain loop has it as timm makes it, in single precision."""
    source, count, size = bench.source(), bench.scale.segmentation_batch, bench.frames.size
    config = ClassifierConfig(backbone=BACKBONE, image_size=size, channels=1, classes=("no", "yes"))
    module = Classifier(config)
    other, plain_optimiser = _plain_side(create_timm_model(BACKBONE, num_classes=2, in_chans=1), bench)
    bench.runtime.prepare(module).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE)
    labels = (torch.arange(count) % 2).to(bench.runtime.device)

    def ours() -> None:
        images = source.images(torch.randint(0, len(source), (count,)))
        with bench.runtime.autocast():
            logits = module(images)
        plain.step(module, optimiser, F.cross_entropy(logits.float(), labels))

    def usual() -> None:
        chosen = [bench.frames.png_images[row] for row in random.choices(range(len(source)), k=count)]
        logits = other(plain.decoded(chosen, size).to(bench.runtime.device))
        plain.step(other, plain_optimiser, F.cross_entropy(logits, labels))

    yield bench.compare("EfficientNet-B0 step", "images", count, ours, usual)


def inference(bench: Bench) -> Iterator[Result]:
    """Two branches from bytes in memory to logits, a batch at a time and one frame at a time."""
    device, runtime = bench.runtime.device, bench.runtime
    modules = [TransUNet(bench.scale.model).eval() for _ in range(2)]
    others = [copy.deepcopy(module).to(device) for module in modules]
    for module in modules:
        runtime.prepare(module)
    branches = [Branch(module, InputScaling()) for module in modules]
    predictor = Predictor(branches, runtime)
    for count, name in ((bench.scale.inference_batch, "batched"), (1, "one at a time")):
        images = torch.from_numpy(bench.frames.images(np.arange(count) % len(bench.frames)))

        def ours(images: Tensor = images) -> Tensor:
            return predictor.logits(images)

        @torch.inference_mode()
        def usual(images: Tensor = images) -> list[Tensor]:
            batch = images.to(device).unsqueeze(1).float() / 255
            return [other(batch) for other in others]

        yield bench.compare(f"two branches, {name}", "frames", count, ours, usual)


CASES: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "frames": decode,
    "views": views,
    "masks": hidden_cells,
    "loss": contrastive_loss,
    "mim": masked_image_step,
    "contrastive": contrastive_step,
    "finetune": segmentation_step,
    "classify": classification_step,
    "inference": inference,
}


def _plain_side(module: nn.Module, bench: Bench) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A copy of the model for the plain loop, with torch's own choice of optimiser kernels."""
    other = copy.deepcopy(module).to(bench.runtime.device).train()
    return other, torch.optim.AdamW(other.parameters(), lr=LEARNING_RATE)


def _steps(task: Task, bench: Bench) -> Work:
    """Steps of a task as the training loop takes them, without its log, checkpoints and validation."""
    module = task.module.train()
    if bench.compiled:
        module.compile()
    optimiser = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, fused=True)
    turn = iter(range(1 << 30))

    def work() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss, _ = task.loss(task.sampler.batch(next(turn)))
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), float("inf"))
        optimiser.step()
        return float(loss.detach())

    return work


def _training(batch_size: int) -> TrainingSettings:
    return TrainingSettings(
        steps=1, batch_size=batch_size, optimiser=OptimiserSettings(learning_rate=LEARNING_RATE)
    )
