"""Gradients averaged over processes while the backward pass still runs.

Parameters are put into buckets in the order in which their gradients become ready, last layer first. A full
bucket is sent off at once, so that the exchange hides behind the rest of the backward pass (Li et al.,
"PyTorch Distributed", VLDB 2020). The task needs no wrapper around its module, and state dicts keep their
names; micro-batches before the last exchange nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 25 << 20


class GradientAverage:
    """Averages the gradients of some parameters over all processes.

    Args:
        parameters: The same, in the same order, in every process.
        count: How many processes there are.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], count: int) -> None:
        self._count = count
        self._buckets = _buckets(list(parameters)[::-1])
        self._missing = [0] * len(self._buckets)
        self._sent: list[tuple[Tensor, Any]] = []
        self._armed = False
        for number, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(lambda _, number=number: self._ready(number))

    def arm(self) -> None:
        """Says that the next backward pass is the last of the step."""
        self._armed, self._sent = True, []
        self._missing = [len(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """Waits until every gradient is the mean over all processes; call it after that backward pass."""
        self._armed = False
        while len(self._sent) < len(self._buckets):
            self._send()
        for bucket, (flat, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            parts = flat.split([parameter.numel() for parameter in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(part.view_as(parameter))
        self._sent = []

    def _ready(self, number: int) -> None:
        if not self._armed:
            return
        self._missing[number] -= 1
        # In order, however gradients come: all processes must send the same bucket at the same time.
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        # A parameter that took no part counts as zero, or the buckets of two processes might differ in size.
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in bucket
        ]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]).div_(self._count)
        self._sent.append((flat, dist.all_reduce(flat, async_op=True)))


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Groups neighbours of one type up to `BUCKET_BYTES`."""
    buckets: list[list[nn.Parameter]] = []
    size = 0
    for parameter in parameters:
        bytes_here = parameter.numel() * parameter.element_size()
        if not buckets or size + bytes_here > BUCKET_BYTES or buckets[-1][-1].dtype != parameter.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += bytes_here
    return buckets
