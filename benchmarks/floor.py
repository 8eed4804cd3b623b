"""`python -m benchmarks.floor`: operations and bytes of the models, and the times no version can beat."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import Machine, measure_machine
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.inference_form import inference_form
from crossprobe.models.masked_image_model import MaskedImageModel
from crossprobe.models.projection import ContrastiveModel
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import resolve
from crossprobe.training.settings import RuntimeSettings


@dataclass(frozen=True)
class Work:
    """What a piece of work asks of a machine, an image.

    Attributes:
        name: Of the work.
        gflop: 10^9 floating point operations.
        least_mb: 2^20 bytes: weights once a batch, images in, results out.
        layers_mb: 2^20 bytes where every operation reads its inputs and writes its result.
    """

    name: str
    gflop: float
    least_mb: float
    layers_mb: float

    def floor_ms(self, machine: Machine) -> tuple[float, float, float]:
        """Milliseconds an image: for the operations in bf16, for the least bytes, for the layers' bytes."""
        bytes_a_ms = machine.copy_gb_per_second * 1e6
        return (
            self.gflop / machine.bf16_tflops,
            self.least_mb * 2**20 / bytes_a_ms,
            self.layers_mb * 2**20 / bytes_a_ms,
        )


class _Bytes(TorchDispatchMode):
    """Adds up what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def count_work(config: TransUNetConfig, batch: int) -> list[Work]:
    """Counts without computing anything: on torch's meta device.

    Args:
        config: Architecture.
        batch: Images a batch.

    Returns:
        Inference of one branch, and one step each of masked image modelling, contrastive learning and
        fine-tuning.
    """
    with torch.device("meta"):
        segmenter = TransUNet(config)
        form = inference_form(segmenter, torch.bfloat16, for_processor=True)
        grey = torch.zeros(batch, 1, config.image_size, config.image_size)
        works = [_counted("inference, one branch, bf16", form, grey.bfloat16(), batch, learns=False)]
        for name, module in (
            ("MIM step, fp32", MaskedImageModel(config)),
            ("contrastive step, a view, fp32", ContrastiveModel(config)),
            ("fine-tune step, fp32", segmenter),
        ):
            works.append(_counted(name, module, grey, batch, learns=True))
    return works


def _counted(name: str, module: nn.Module, images: Tensor, batch: int, learns: bool) -> Work:
    parameters = sum(one.numel() * one.element_size() for one in module.parameters())
    module.train(learns)
    with (
        torch.set_grad_enabled(learns),
        FlopCounterMode(display=False) as counter,
        _Bytes() as moved,
    ):
        result = module(images)
        if learns:
            result.sum().backward()
    least = images.numel() * images.element_size() + result.numel() * result.element_size()
    # A step reads weights forwards and backwards, then writes gradients, and the update reads and writes
    # weights and two moments and reads gradients: ten times the size of the weights.
    weights = parameters * (10 if learns else 1)
    return Work(
        name,
        counter.get_total_flops() / batch / 1e9,
        (least + weights) / batch / 2**20,
        moved.total / batch / 2**20,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table.

    Args:
        arguments: Of the command line; None takes those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--model", choices=("full", "mini"), default="full")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 128], help="images a batch")
    parser.add_argument("--quick", action="store_true", help="small products: too low a peak")
    options = parser.parse_args(arguments)
    config = TransUNetConfig.r50_vit_b16() if options.model == "full" else TransUNetConfig.mini()
    machine = measure_machine(resolve(RuntimeSettings()).device, options.quick)
    print(
        f"{machine.device}; {machine.bf16_tflops:.3f} TFLOP/s bf16, "
        f"{machine.copy_gb_per_second:.1f} GB/s copied\n\n"
        "| work, an image | batch | GFLOP | least MB | layers' MB | ms of operations | ms of least bytes | "
        "ms of layers' bytes |\n|---|---|---|---|---|---|---|---|"
    )
    for batch in options.batches:
        for work in count_work(config, batch):
            times = " | ".join(f"{value:.3g}" for value in work.floor_ms(machine))
            bytes_moved = f"{work.least_mb:.1f} | {work.layers_mb:.0f}"
            print(f"| {work.name} | {batch} | {work.gflop:.1f} | {bytes_moved} | {times} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
