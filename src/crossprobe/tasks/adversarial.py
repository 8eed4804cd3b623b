"""Domain-adversarial classification (requirement S0-1): labels of one site, images of both."""

from __future__ import annotations

import torch
from torch import Tensor

from crossprobe.adaptation.dann import (
    DannSettings,
    DomainAdversarialModel,
    domain_accuracy,
    domain_loss,
    reversal_scale,
)
from crossprobe.tasks.classification import ClassificationTask
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.sampler import Batch, ShuffledSampler

_TARGET_STREAM = 402
_TARGET_SEED = 7919


class AdversarialTask:
    """Trains a classifier on labelled images while a discriminator is kept from telling the sites apart.

    The two sites' batches may differ in size. They go through the network together, so that batch
    normalisation sees both. Weights are chosen on the labelled site's validation images.

    Args:
        module: Classifier and discriminator.
        labelled: The same training without adversary: images, labels, augmentation, validation.
        target: Unlabelled training images of the other site.
        target_validation: Unlabelled images of other patients there, to watch the alignment on.
        settings: Discriminator and schedule.
        total_steps: Steps of the whole run, for the schedule.
        seed: Seed of the order of target images.
    """

    figure = "cross_entropy"

    def __init__(
        self,
        module: DomainAdversarialModel,
        labelled: ClassificationTask,
        target: FrameSource,
        target_validation: FrameSource,
        settings: DannSettings,
        total_steps: int,
        seed: int,
    ) -> None:
        self.labelled, self._target, self._held_out = labelled, target, target_validation
        labelled.runtime.prepare(module)
        self.module = module
        self.sampler = labelled.sampler
        self._settings, self._total = settings, total_steps
        self.target_sampler = ShuffledSampler(len(target), settings.target_batch_size, seed + _TARGET_SEED)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Computes label loss plus domain loss; the reversal makes the second one an adversary."""
        task, model = self.labelled, self.module
        other = self.target_sampler.batch(batch.step).split(batch.pieces)[batch.piece]
        images, labels = task.augmented(batch), task.training.labels(batch.rows)
        unlabelled = task.augment(self._target.images(other.rows), other, _TARGET_STREAM)
        scale = reversal_scale(batch.step / self._total, self._settings)
        with task.runtime.autocast():
            features = model.classifier.features(torch.cat([images, unlabelled]))
            logits = model.classifier.classify(features[: len(images)])
            domains = model.domain_logits(features, scale).float()
        source, target = domains[: len(images)], domains[len(images) :]
        on_labels, on_domains = task.label_loss(logits, labels), domain_loss(source, target)
        figures = {
            "label_loss": float(on_labels.detach()),
            "domain_loss": float(on_domains.detach()),
            "domain_accuracy": domain_accuracy(source, target),
            "accuracy": float((logits.argmax(1) == labels).float().mean()),
            "reversal_scale": scale,
            **task.seconds(batch),
        }
        return on_labels + on_domains, figures

    def names(self, rows: Tensor) -> list[str]:
        """Names labelled training images by video and number."""
        return self.labelled.names(rows)

    def validate(self, size: int) -> dict[str, float]:
        """Validates on the labelled site; watches domain accuracy and predicted shares on held-out images."""
        task, model = self.labelled, self.module
        figures = task.validate_with(model.classifier, size)
        source = self._domains(torch.arange(len(task.validation)), task.validation.images, size)[0]
        target, predicted = self._domains(torch.arange(len(self._held_out)), self._held_out.images, size)
        figures["domain_loss"] = float(domain_loss(source, target))
        figures["domain_accuracy"] = domain_accuracy(source, target)
        for number, name in enumerate(task.training.class_names):
            figures[f"target_share_{name}"] = float((predicted == number).float().mean())
        return figures

    def _domains(self, positions: Tensor, images, size: int) -> tuple[Tensor, Tensor]:
        """Domain logits [N] and predicted classes [N] of held-out images, `size` at once."""
        task, model = self.labelled, self.module
        domains, predicted = [], []
        for some in positions.split(size):
            with task.runtime.autocast():
                features = model.classifier.features(task.scaling.apply(images(some)))
                domains.append(model.domain_logits(features, 0.0).float())
                predicted.append(model.classifier.classify(features).argmax(1))
        return torch.cat(domains), torch.cat(predicted)
