"""What worker processes of the tests import: a small store on disk, jobs that misbehave, and a comparison.

A module of its own, since workers are started afresh and find code by name.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch import nn

from crossprobe.data.frame_store import FORMAT, FrameStore
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.projection import ProjectionConfig
from crossprobe.models.transunet import TransUNet
from crossprobe.ssl.augment import ContrastiveAugmentSettings
from crossprobe.ssl.frame_sampler import FrameSamplerSettings
from crossprobe.ssl.mim import MimSettings
from crossprobe.ssl.nt_xent import NtXentSettings
from crossprobe.tasks.contrastive import ContrastiveJob
from crossprobe.tasks.masked_image import MaskedImageJob
from crossprobe.tasks.segmentation import SegmentationJob
from crossprobe.training.dice_bce import DiceBceSettings
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.loop import train
from crossprobe.training.ranks import Ranks
from crossprobe.training.runtime import Runtime, resolve
from crossprobe.training.seeding import seeded
from crossprobe.training.segmentation_augment import SegmentationAugmentSettings
from crossprobe.training.settings import RuntimeSettings, TrainingSettings
from crossprobe.training.synchronised_norm import synchronise_norms

SIZE, VIDEOS, FRAMES = 64, 4, 6
TRAINING, VALIDATION = np.arange(16), np.arange(16, 24)


def write_store(folder: Path) -> FrameStore:
    """Videos of noise with a bright bar that moves; every frame is labelled."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(VIDEOS):
        images = generator.integers(0, 60, (FRAMES, SIZE, SIZE), dtype=np.uint8)
        masks = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
        for frame in range(FRAMES):
            masks[frame, 3 * number + 2 * frame : 3 * number + 2 * frame + 5, 4:28] = 1
            rows.append({
                "site": "s", "device": "d", "operator": "o", "patient": f"p{number}", "view": "v",
                "video": f"v{number}", "path": "x", "spacing_mm": None, "class": "c", "frame": 2 * frame,
                "height": SIZE, "width": SIZE, "crop_top": 0, "crop_left": 0, "mask_path": "m.png",
                "truth_path": None, "labelled": True, "content": f"{number}_{frame}",
            })  # fmt: skip
        images[masks == 1] += 150
        place = folder / "videos" / f"v{number}"
        place.mkdir(parents=True)
        np.save(place / "images.npy", images)
        np.save(place / "masks.npy", masks)
    pd.DataFrame(rows).astype({"spacing_mm": float}).to_parquet(folder / "manifest.parquet")
    description = {"format": FORMAT, "size": SIZE, "fingerprint": "f" * 64, "rows": len(rows)}
    (folder / "store.json").write_text(json.dumps(description))
    return FrameStore.open(folder, labels=True)


def settings(**changes) -> TrainingSettings:
    given = {
        "steps": 20, "batch_size": 8, "validate_every": 5, "save_every": 5,
        "optimiser": {"name": "sgd", "learning_rate": 2e-4, "momentum": 0.0}, "seed": 1,
    }  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def machine(**changes) -> RuntimeSettings:
    return RuntimeSettings(device="cpu", precision="fp32", channels_last=False, threads=1, **changes)


def jobs() -> dict:
    model = TransUNetConfig.mini(image_size=SIZE, depth=2, shortcut_groups=8)
    scaling = InputScaling(mean=0.2, std=0.3)

    def contrastive(**loss) -> ContrastiveJob:
        return ContrastiveJob(
            model=model, projection=ProjectionConfig(), augment=ContrastiveAugmentSettings(),
            sampling=FrameSamplerSettings(frames_per_video=2), loss=NtXentSettings(frame_gap=4, **loss),
            scaling=scaling,
        )  # fmt: skip

    def segmentation(**loss) -> SegmentationJob:
        return SegmentationJob(
            model=model, augment=SegmentationAugmentSettings(), loss=DiceBceSettings(**loss), scaling=scaling
        )

    return {
        "mim": MaskedImageJob(model=model, masking=MimSettings(mask_patch_px=8), scaling=scaling),
        "mt_nxent": contrastive(),
        "random_mask": contrastive(control="random_mask"),
        "dice_of_each": segmentation(),
        "dice_of_batch": segmentation(per_sample=False, smooth=0.0),
    }


def jobs_start() -> dict[str, torch.Tensor]:
    """Weights to start from that the seed of the settings does not give."""
    with seeded(9):
        return TransUNet(jobs()["dice_of_each"].model).state_dict()


def run_all(store: Path, folder: Path, ranks: Ranks, changes: dict) -> dict[str, pd.DataFrame]:
    """Trains every job as one of `ranks`; gives the histories by job."""
    torch.set_num_threads(1)
    opened, given = FrameStore.open(store, labels=True), settings()
    histories = {}
    for name, job in jobs().items():
        own = given.model_copy(update=changes.get(name, {}))
        runtime = resolve(machine(), ranks)
        sources = [FrameSource(opened, rows, runtime.device, job.labels) for rows in (TRAINING, VALIDATION)]
        task = job.build(*sources, own, runtime)
        histories[name] = train(task, own, 16, folder / name, name, name, runtime).history
    return histories


def one_of_two(rank: int, store: str, folder: str, changes: dict) -> None:
    """The worker of the comparison: joins the other, checks the exchanges, trains every job."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    ranks = Ranks(rank, 2, rank)
    histories = run_all(Path(store), Path(folder), ranks, changes)
    found = exchanges(ranks)
    if rank == 0:
        for name, history in histories.items():
            history.to_parquet(Path(folder) / f"{name}.parquet")
        torch.save(found, Path(folder) / "exchanges.pt")
    dist.destroy_process_group()


def exchanges(ranks: Ranks) -> dict:
    """What gathering, summing and batch norm give of one batch, with the mean of all gradients."""
    torch.manual_seed(0)
    whole = torch.randn(6, 4, 5, 5, dtype=torch.float64)
    weights = torch.randn(6, 4, 5, 5, dtype=torch.float64)
    size = len(whole) // ranks.count
    part = slice(ranks.rank * size, (ranks.rank + 1) * size)
    found = {}
    for name in ("gather", "sum", "norm"):
        mine = whole[part].clone().requires_grad_()
        norm = nn.Sequential(nn.BatchNorm2d(4))
        synchronise_norms(norm, ranks, torch.device("cpu"))
        if name == "gather":
            loss = (ranks.gather(mine).pow(3) * weights).mean()
        elif name == "sum":
            loss = ranks.sum((mine * weights[part]).sum()).square()
        else:
            loss = (norm(mine.float()) * weights[part]).pow(3).mean()
        loss.backward()
        gradient = ranks.gather(mine.grad / ranks.count)
        found[name] = {"gradient": gradient, "loss": ranks.mean(float(loss.detach()), 1, torch.device("cpu"))}
        if name == "norm":
            found[name] |= {key: value.clone() for key, value in norm.state_dict().items()}
    return found


class FragileJob(SegmentationJob):
    """A segmentation whose second process dies at a step: each time, or once."""

    step: int
    how: str
    marker: Path

    def build(self, training, validation, settings, runtime: Runtime):
        task = super().build(training, validation, settings, runtime)
        honest = task.loss

        def loss(batch):
            due = batch.step == self.step and runtime.ranks.rank == runtime.ranks.count - 1
            if due and self.how == "killed once" and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if due and self.how == "raises":
                raise ValueError("the second process has its own reasons")
            if self.how == "out of memory once" and due and batch.pieces == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            value, figures = honest(batch)
            return (value * float("nan") if self.how == "diverges" and due else value), figures

        task.loss = loss
        return task
