"""Batch norm over the samples of all processes, on any device.

torch's own `SyncBatchNorm` runs on CUDA only; it is used there. On a CPU the module below does the same in
two exchanges, mean before variance: the variance of large means would drown in rounding otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossprobe.training.ranks import Ranks


def synchronise_norms(module: nn.Module, ranks: Ranks, device: torch.device) -> None:
    """Makes every batch norm inside a module look at the samples of all processes.

    Weights, buffers and their names stay; group and layer norm look at one sample and need nothing.

    Args:
        module: Changed in place; it is not itself a batch norm.
        ranks: The processes; alone nothing changes.
        device: Where the module lies.
    """
    if ranks.count == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, SynchronisedBatchNorm(child, ranks))


class SynchronisedBatchNorm(nn.Module):
    """A batch norm with the statistics of all processes; the same number of samples in each.

    Args:
        norm: Whose weights and buffers are taken over.
        ranks: The processes.
    """

    def __init__(self, norm: _BatchNorm, ranks: Ranks) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self._ranks = ranks
        self.train(norm.training)

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def forward(self, features: Tensor) -> Tensor:
        """Normalises channels.

        Args:
            features: [B, C, ...].

        Returns:
            The same shape and type.
        """
        mean, variance = self.running_mean, self.running_var
        if not self.training and mean is not None and variance is not None:
            return F.batch_norm(features, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        axes = [axis for axis in range(features.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(features.dim())]
        precise = features.float()
        count = precise.numel() // precise.shape[1] * self._ranks.count
        batch_mean = self._ranks.sum(precise.sum(dim=axes)) / count
        centred = precise - batch_mean.view(shape)
        batch_variance = self._ranks.sum(centred.square().sum(dim=axes)) / count
        self._remember(batch_mean.detach(), batch_variance.detach() * (count / max(1, count - 1)))
        result = centred * (batch_variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(features.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
