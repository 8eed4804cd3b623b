"""The reversal has the sign and the scale it should, and on a shifted set the sites become alike."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from crossprobe.adaptation.dann import (
    DannSettings,
    DomainAdversarialModel,
    collapse_warnings,
    domain_accuracy,
    domain_loss,
    reversal_scale,
    reverse_gradient,
)
from crossprobe.models.classifier import Classifier
from crossprobe.models.classifier_config import ClassifierConfig, SmallCnnConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.tasks.adversarial import AdversarialTask
from crossprobe.tasks.classification import ClassificationTask, ClassLossSettings
from crossprobe.training.class_source import LabelledImages
from crossprobe.training.classification_augment import ClassificationAugmentSettings
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.loop import train
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch
from crossprobe.training.settings import TrainingSettings

RUNTIME = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
SIZE, CLASSES = 16, ("dark", "light")


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 2.5])
def test_the_gradient_is_reversed_and_scaled_and_the_values_are_not(scale):
    plain = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    turned = plain.detach().clone().requires_grad_(True)
    weights = torch.randn(3, dtype=torch.float64)
    torch.tanh(plain @ weights).sum().backward()
    passed = reverse_gradient(turned, scale)
    assert torch.equal(passed, turned)
    torch.tanh(passed @ weights).sum().backward()
    assert torch.allclose(turned.grad, -scale * plain.grad)


def test_the_discriminator_itself_learns_at_full_rate():
    """Only what lies below the reversal is turned round; its own weights descend as ever."""
    model = DomainAdversarialModel(classifier(), DannSettings(hidden=4))
    features = torch.randn(6, model.classifier.feature_width)
    gradients = []
    for scale in (0.0, 1.0, 3.0):
        model.zero_grad()
        model.domain_logits(features, scale).sum().backward()
        gradients.append(model.discriminator[0].weight.grad.clone())
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[1], gradients[2])


def test_the_schedule_is_the_published_one():
    settings = DannSettings()
    assert reversal_scale(0.0, settings) == 0
    assert reversal_scale(0.5, settings) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert reversal_scale(1.0, settings) == pytest.approx(0.99990920, abs=1e-7)
    assert reversal_scale(1.0, DannSettings(weight=0.1)) == pytest.approx(0.1, rel=1e-3)


def test_domains_count_alike_whatever_their_batches():
    undecided = domain_loss(torch.zeros(7), torch.zeros(2))
    assert float(undecided) == pytest.approx(math.log(2))
    # Right on all 30 source images and wrong on both target ones is chance.
    assert domain_accuracy(torch.full((30,), -1.0), torch.full((2,), -1.0)) == 0.5
    assert domain_accuracy(torch.full((3,), -1.0), torch.ones(9)) == 1.0


def test_collapse_is_named():
    settings = DannSettings()
    assert collapse_warnings(0.55, {"a": 0.4, "b": 0.6}, settings, ("a", "b")) == []
    won = collapse_warnings(0.99, {"a": 0.4, "b": 0.6}, settings, ("a", "b"))
    assert len(won) == 1
    assert "0.99" in won[0]
    outrun = collapse_warnings(0.05, {"a": 0.4, "b": 0.6}, settings, ("a", "b"))
    assert len(outrun) == 1
    assert "outran" in outrun[0]
    lost = collapse_warnings(0.5, {"a": 1.0, "b": 0.0}, settings, ("a", "b"))
    assert len(lost) == 1
    assert "b" in lost[0]


class Scans:
    """Images in memory, with what a frame source asks of a store."""

    def __init__(self, images: np.ndarray, classes: np.ndarray) -> None:
        self._images, self.size = images, images.shape[-1]
        self.manifest = pd.DataFrame({"class": np.asarray(CLASSES)[classes]})

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]


def scans(count: int, shift: int, seed: int) -> Scans:
    """Two classes by a bright square, top or bottom; the shift is a brighter right edge."""
    generator = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    images = generator.integers(0, 60, (count, SIZE, SIZE))
    for image, kind in zip(images, classes, strict=True):
        top = generator.integers(0, 4) + 8 * kind
        image[top : top + 4, 2:10] += 120
    images[:, :, -4:] += shift
    return Scans(np.clip(images, 0, 255).astype(np.uint8), classes)


def classifier() -> Classifier:
    torch.manual_seed(0)
    small = SmallCnnConfig(filters=(8, 16), hidden=16, batch_norm=True)
    return Classifier(
        ClassifierConfig(backbone="small_cnn", classes=CLASSES, image_size=SIZE, dropout=0, small_cnn=small)
    )


def adversarial(weight: float, steps: int, target_batch: int = 16):
    settings = TrainingSettings.model_validate(
        {"steps": steps, "batch_size": 24, "validate_every": 20, "save_every": 1000, "keep": "last",
         "schedule": "constant", "optimiser": {"name": "adam", "learning_rate": 2e-3}}
    )  # fmt: skip
    near, far = scans(160, 0, 1), scans(160, 120, 2)

    def source(store: Scans, rows: np.ndarray) -> FrameSource:
        return FrameSource(store, rows, RUNTIME.device, labels=False)

    train_rows, held_out = np.arange(100), np.arange(100, 160)
    task = ClassificationTask(
        classifier(), LabelledImages([source(near, train_rows)], CLASSES),
        LabelledImages([source(near, held_out)], CLASSES), settings,
        ClassificationAugmentSettings.none(), ClassLossSettings(), InputScaling(mean=0.2, std=0.3), RUNTIME,
    )  # fmt: skip
    dann = DannSettings(weight=weight, hidden=32, target_batch_size=target_batch)
    torch.manual_seed(1)
    model = DomainAdversarialModel(task.module, dann)
    whole = AdversarialTask(model, task, source(far, train_rows), source(far, held_out), dann, steps, 0)
    return whole, settings


@pytest.mark.slow
def test_the_sites_become_alike_while_the_source_is_still_classified(tmp_path):
    """Without reversal the discriminator wins; with it, it falls towards chance and the labels still hold."""
    last = {}
    for name, weight in (("control", 0.0), ("dann", 1.0)):
        task, settings = adversarial(weight, steps=400)
        history = train(task, settings, 100, tmp_path / name, name).history
        figures = history.query("part == 'validation' and step > 300")
        last[name] = figures.groupby("metric")["value"].mean()
    assert last["control"]["domain_accuracy"] > 0.9
    assert last["dann"]["domain_accuracy"] < 0.75
    assert last["dann"]["accuracy"] > 0.95
    assert last["dann"]["domain_loss"] > last["control"]["domain_loss"] + 0.2


def test_micro_batches_draw_the_same_target_images_as_one_batch():
    task, _ = adversarial(1.0, steps=4, target_batch=8)
    seen: list[list[int]] = []
    take = task._target.images

    def remember(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows.tolist())
        return take(rows)

    task._target.images = remember
    batch = task.sampler.batch(3)
    task.loss(batch)
    for piece in batch.split(2):
        task.loss(piece)
    assert seen[0] == seen[1] + seen[2]
    assert len(seen[0]) == 8


def test_losses_are_logged_apart():
    task, _ = adversarial(1.0, steps=4)
    loss, figures = task.loss(task.sampler.batch(2))
    assert float(loss.detach()) == pytest.approx(figures["label_loss"] + figures["domain_loss"], rel=1e-5)
    assert 0 <= figures["domain_accuracy"] <= 1
    task.module.eval()
    with torch.no_grad():
        watched = task.validate(4)
    assert {"cross_entropy", "domain_accuracy", "target_share_dark", "target_share_light"} <= set(watched)
    assert watched["target_share_dark"] + watched["target_share_light"] == pytest.approx(1)


def test_what_a_sample_gets_does_not_depend_on_its_batch():
    task, _ = adversarial(1.0, steps=4)
    rows, epochs = torch.tensor([5, 0, 3]), torch.tensor([2, 2, 2])
    whole = task.labelled.augmented(Batch(rows, epochs))
    single = [task.labelled.augmented(Batch(rows[i : i + 1], epochs[i : i + 1])) for i in range(3)]
    assert torch.allclose(whole, torch.cat(single))
