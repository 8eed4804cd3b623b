"""What the training loop asks of a task; it knows tasks by this protocol and by nothing else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from crossprobe.training.sampler import Batch, Sampler


class Task(Protocol):
    """A module to train, its loss on a batch and its validation figure."""

    @property
    def module(self) -> nn.Module:
        """Everything that has weights, already on its device."""
        ...

    @property
    def sampler(self) -> Sampler:
        """Which samples a step sees."""
        ...

    @property
    def figure(self) -> str:
        """Name of the validation figure that decides which weights are kept; lower is better."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Computes the loss of a micro-batch.

        Args:
            batch: The samples.

        Returns:
            The scalar loss with its graph, and figures worth logging.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Computes the validation figures, `figure` among them, with the module in evaluation mode."""
        ...
