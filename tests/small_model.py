"""A small model that can be packaged: two untrained branches that call about half of a picture foreground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.fusion.ensemble import PLAIN, FusedAnswer
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.models.classifier import Classifier
from crossprobe.models.classifier_config import ClassifierConfig
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.transunet import TransUNet
from crossprobe.prediction.class_reading import ClassReadingRule
from crossprobe.prediction.package import Package, PackageBranch, PackageIndex
from crossprobe.prediction.reading_rule import ReadingRule
from crossprobe.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
SITE = {
    "data": "phantom",
    "devices": "probe",
    "manifest_hash": "a" * 64,
    "frame_store": "b" * 64,
    "split_hash": "c" * 64,
}


def checkpoint(seed: int) -> Checkpoint:
    torch.manual_seed(seed)
    config = TransUNetConfig.mini(image_size=32)
    module = TransUNet(config).eval()
    with torch.no_grad():
        module.head.weight.mul_(20)
        module.head.bias.sub_(module(torch.full((1, 1, 32, 32), 0.3)).median())
    described = {
        "form": "segmenter",
        "model": config.model_dump(mode="json"),
        "scaling": {"mean": 0, "std": 1},
    }
    return Checkpoint(module.state_dict(), described, {"title": f"seed {seed}"})


def small_package(seed: int = 0, **changes) -> Package:
    rule = ReadingRule(
        least_confidence=0.2, poor_dsc=0.7, frames=10, poor_frames=2, flagged_share=0.2, caught_share=1.0
    )
    fields = {
        "kind": "segmenter",
        "arm": "fused",
        "branches": (
            PackageBranch(name="mim", temperature=1.3),
            PackageBranch(name="mt_nxent", temperature=0.8),
        ),
        "answer": FusedAnswer(confidence="entropy", calibrated=True),
        "frames": FrameSettings(size=32),
        "reading": rule,
        "provenance": {
            "study": "cross_domain",
            "sites": {"source": SITE, "target": SITE},
            "learned_from": {"source": [], "target": []},
        },
    }
    return Package(PackageIndex(**(fields | changes)), [checkpoint(seed), checkpoint(seed + 100)])


CLASSES = ("benign", "malignant")


def classifier_checkpoint(seed: int) -> Checkpoint:
    """An untrained network whose answers differ from frame to frame."""
    torch.manual_seed(seed)
    config = ClassifierConfig(backbone="small_cnn", classes=CLASSES, image_size=16, dropout=0.5)
    module = Classifier(config).eval()
    with torch.no_grad():
        module.head.weight.mul_(40)
        levels = torch.rand(8, 1, 1, 1).expand(8, 1, 16, 16)
        module.head.bias.sub_(module(levels).mean(0))
    described = {
        "form": "classifier",
        "model": config.model_dump(mode="json"),
        "scaling": {"mean": 0.2, "std": 0.2},
    }
    return Checkpoint(module.state_dict(), described, {"title": f"seed {seed}"})


def small_classifier(seed: int = 0, **changes) -> Package:
    """Two branches of two classes, trained on the source alone."""
    rule = ClassReadingRule(
        least_confidence=0.6, images=10, wrong_images=2, flagged_share=0.2, caught_share=1.0
    )
    fields = {
        "kind": "classifier",
        "arm": "ensemble",
        "branches": (
            PackageBranch(name="source_only", temperature=1.3),
            PackageBranch(name="multi_source", temperature=0.8),
        ),
        "answer": PLAIN,
        "frames": FrameSettings(size=32),
        "classes": CLASSES,
        "class_reading": rule,
        "provenance": {
            "study": "breast",
            "sites": {"source": SITE},
            "learned_from": {"source": []},
        },
    }
    checkpoints = [classifier_checkpoint(seed), classifier_checkpoint(seed + 100)]
    branches = (fields | changes)["branches"]
    return Package(PackageIndex(**(fields | changes)), checkpoints[: len(branches)])


def fan(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """A frame of speckle in a fan on black: uint8 [height, width]."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(rows + 20, columns - width / 2) < height
    speckle = generator.rayleigh(50, inside.shape)
    return np.where(inside, np.clip(speckle, 1, 255), 0).astype(np.uint8)


def write_clip(path: Path, frames: int = 6) -> Path:
    import cv2

    size = fan().shape[::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12, size)
    for number in range(frames):
        writer.write(cv2.cvtColor(fan(number), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path
