"""What the training loop asks of a task; it knows tasks by this protocol and by nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from crossprobe.training.frame_source import FrameSource
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, Sampler
from crossprobe.training.settings import TrainingSettings


class Task(Protocol):
    """A module to train, its loss on a batch and its validation figure.

    Four more members are looked for, but not needed: `whole_batch = True` says that the samples of a step
    see each other, so that the loop must not cut it into micro-batches; `at_once` of such a task is set to
    the most samples whose activations it may hold in memory; `prefetch(batch)` is told which micro-batch
    comes after the one whose loss is asked for next; `names(rows)` names samples for an error.
    """

    @property
    def module(self) -> nn.Module:
        """Everything that has weights, already on its device."""
        ...

    @property
    def sampler(self) -> Sampler:
        """Which samples a step sees, over all processes."""
        ...

    @property
    def figure(self) -> str:
        """Name of the validation figure that decides which weights are kept; lower is better."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Computes the loss of a micro-batch, or of this process's share of it.

        Args:
            batch: The samples.

        Returns:
            The scalar loss with its graph, and figures worth logging; the mean of both over the processes is
            that of the whole micro-batch, and their mean over the micro-batches that of the step.
        """
        ...

    def validate(self, size: int) -> dict[str, float]:
        """Computes the validation figures, `figure` among them, with the module in evaluation mode.

        Args:
            size: Most samples that go through the module at once; the figures do not depend on it.

        Returns:
            Finite numbers by name.
        """
        ...


class Job(BaseModel, ABC):
    """A task as plain settings, from which this process and any other build the same one.

    Attributes:
        labels: Whether the task needs masks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: ClassVar[bool] = False

    @abstractmethod
    def build(
        self, training: FrameSource, validation: FrameSource, settings: TrainingSettings, runtime: Runtime
    ) -> Task:
        """Builds the task; its initial weights depend on the seed alone.

        Args:
            training: Frames to train on.
            validation: Frames to validate on.
            settings: Budget and seed.
            runtime: Device, precision and processes.

        Returns:
            The task, its module on the device.
        """
