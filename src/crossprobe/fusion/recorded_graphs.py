"""Kernels of a forward pass recorded once a shape and replayed: one launch where there were hundreds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UPS = 3


class RecordedGraphs:
    """Replays a function of one CUDA tensor; a shape beyond the limit calls it as it is.

    Args:
        function: A pure function on the GPU, of fixed shapes and without synchronisation.
        limit: Shapes recorded at most; each keeps its own memory on the device.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], limit: int) -> None:
        self._function, self._limit = function, limit
        self._recorded: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Runs the function.

        Args:
            images: On the GPU.

        Returns:
            The result, in memory of its own.
        """
        shape = tuple(images.shape)
        if shape not in self._recorded:
            if len(self._recorded) >= self._limit:
                return self._function(images)
            self._recorded[shape] = self._record(images)
        graph, source, result = self._recorded[shape]
        source.copy_(images)
        graph.replay()
        return result.clone()

    def _record(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        source = images.clone()
        # Libraries choose kernels and allocate workspaces in their first calls, which must not be recorded.
        stream = torch.cuda.Stream(images.device)
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._function(source)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self._function(source)
        return graph, source, result
