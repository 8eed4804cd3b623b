"""How a step's batch is cut: into micro-batches that fit memory, and each into the shares of the processes.

Micro-batches come first, so that a micro-batch holds the same samples whatever the number of processes. A
task whose samples see each other gets its batch whole, and is told how many it may hold in memory at once.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from crossprobe.errors import CrossprobeError, OutOfMemory
from crossprobe.training.memory import (
    fewest_pieces_that_fit,
    more_pieces,
    optimiser_bytes,
    pieces_for,
    release,
)
from crossprobe.training.ranks import alone
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch
from crossprobe.training.settings import TrainingSettings
from crossprobe.training.task import Task

log = logging.getLogger(__name__)

NOTE_NAME = "micro_batch"


def check_even(settings: TrainingSettings, processes: int, title: str) -> None:
    """Refuses a batch that cannot be dealt evenly.

    Args:
        settings: Batch size and micro-batches.
        processes: How many share it.
        title: Of the run, for the error.

    Raises:
        CrossprobeError: If somebody would get less than the others.
    """
    if settings.batch_size % (processes * settings.accumulate):
        raise CrossprobeError(
            f"{title}: batch_size {settings.batch_size} is not a multiple of {processes} processes times "
            f"accumulate {settings.accumulate}; change one of them"
        )


class Pieces:
    """The micro-batches of a run, and their number, which grows when memory runs out.

    Attributes:
        fitting: Most samples a process can compute at once, where memory has shown it; else 0.

    Args:
        task: Whose samples are dealt.
        settings: Batch size and the least number of pieces.
        runtime: Largest micro-batch asked for, and the processes.
        folder: Where processes that ran out of memory leave a note for those that start again.
        title: Of the run, for log and errors.

    Raises:
        CrossprobeError: If the batch cannot be dealt evenly, or must be cut and may not.
    """

    def __init__(
        self, task: Task, settings: TrainingSettings, runtime: Runtime, folder: Path, title: str
    ) -> None:
        self._task, self._settings, self._runtime, self._title = task, settings, runtime, title
        self._note = folder / NOTE_NAME
        self._whole = getattr(task, "whole_batch", False)
        self._can_be_cut = not self._whole or hasattr(task, "at_once")
        # On a CPU frames lie in memory already.
        self._prefetch = getattr(task, "prefetch", None) if runtime.device.type != "cpu" else None
        processes = runtime.ranks.count
        check_even(settings, processes, title)
        self._samples, self.fitting = settings.batch_size // processes, 0
        asked = runtime.settings.micro_batch
        self.count = pieces_for(self._samples, settings.accumulate, None if asked == "auto" else asked)
        self._validated = self._samples
        if processes > 1 and self._note.exists():
            self.limit(int(self._note.read_text(encoding="utf-8")))
        if self.count > 1 and not self._can_be_cut:
            raise CrossprobeError(
                f"{title}: the samples of a step see each other, so that its batch of {settings.batch_size} "
                "cannot be cut: set accumulate to 1 and leave runtime.micro_batch empty"
            )

    @property
    def count(self) -> int:
        """Pieces that one process computes one after the other in a step."""
        return self._count

    @count.setter
    def count(self, count: int) -> None:
        self._count = count
        if self._whole and self._can_be_cut:
            self._task.at_once = self.size  # type: ignore[attr-defined]

    @property
    def size(self) -> int:
        """Samples that one process computes at once."""
        return self._samples // self.count

    @property
    def validation_size(self) -> int:
        """Samples that one process validates at once."""
        return min(self.size, self._validated)

    def limit(self, size: int) -> None:
        """Makes micro-batches no larger than was found to fit before, also with another number of processes.

        Args:
            size: Most samples that one process computes at once; 0 if nothing was found.
        """
        if size and self._can_be_cut:
            self.fitting = size
            self.count = max(self.count, pieces_for(self._samples, self._settings.accumulate, size))

    def of(self, step: int) -> list[Batch]:
        """Gives this process's share of every micro-batch of a step; a batch that is not cut is one."""
        ranks = self._runtime.ranks
        pieces = self._task.sampler.batch(step).split(1 if self._whole else self.count)
        return [piece.share(ranks.rank, ranks.count) for piece in pieces] if ranks.count > 1 else pieces

    def announce(self, pieces: list[Batch], number: int) -> None:
        """Tells the task which micro-batch comes after one, if it wants to know.

        Args:
            pieces: Those of a step.
            number: The one that was just started.
        """
        if self._prefetch is not None:
            self._prefetch((pieces[number + 1 :] or self.of(pieces[0].step + 1))[0])

    def fit(self) -> None:
        """Finds the largest micro-batch by trial, where that is asked for and can be done: on CUDA.

        Every process tries the same sizes by itself, and one is taken that fits all: a process that ran out
        of memory inside an exchange would leave the others waiting there.
        """
        device, ranks = self._runtime.device, self._runtime.ranks
        if self._runtime.settings.micro_batch != "auto" or not self._can_be_cut:
            return
        if device.type != "cuda":
            # A CPU's memory does not run out with an error: the system stops the process.
            log.info("%s: micro_batch auto needs CUDA; accumulate decides", self._title)
            return
        buffers = {name: buffer.clone() for name, buffer in self._task.module.named_buffers()}
        with torch.random.fork_rng(devices=[device]), alone():
            self.count = fewest_pieces_that_fit(
                self._samples, self.count, self._try, lambda failed: ranks.largest(failed, device)
            )
        for name, buffer in self._task.module.named_buffers():
            buffer.copy_(buffers[name])
        self.fitting = self.size
        log.info("%s: micro-batches of %d samples", self._title, self.size)

    def _try(self, count: int) -> None:
        """One micro-batch there and back, with the optimiser's memory taken."""
        module, device = self._task.module, self._runtime.device
        module.train()
        reserve = torch.empty(
            optimiser_bytes(module, self._settings.optimiser.name), dtype=torch.uint8, device=device
        )
        try:
            self.count = count
            batch = self._task.sampler.batch(0)
            size = self._samples if self._whole else self.size
            self._task.loss(batch._replace(rows=batch.rows[:size], epochs=batch.epochs[:size]))[0].backward()
            torch.cuda.synchronize(device)
        finally:
            del reserve
            module.zero_grad(set_to_none=True)

    def cut(self, step: int, error: BaseException) -> None:
        """Cuts micro-batches in half after memory ran out, for the rest of the run.

        Args:
            step: Where it ran out.
            error: What was raised.

        Raises:
            OutOfMemory: If they cannot be cut further; among several processes always, since the others
                wait for this one: all start again from the checkpoint and find the note.
        """
        release()
        more = more_pieces(self._samples, self.count) if self._can_be_cut else None
        where = f"{self._title}: out of memory at step {step} with micro-batches of {self.size}"
        if more is None:
            raise OutOfMemory(
                f"{where}, which cannot be cut: use runtime.precision bf16, or take a smaller batch_size, "
                "model or image"
            ) from error
        if self._runtime.ranks.count > 1:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._note.write_text(str(self._samples // more), encoding="utf-8")
            raise OutOfMemory(f"{where}; the next start takes {self._samples // more}") from error
        log.warning("%s; trying again with %d, for the rest of the run", where, self._samples // more)
        self.count = more
        self.fitting = self.size

    def cut_validation(self, error: BaseException) -> None:
        """Halves what is validated at once after memory ran out, for the rest of the run.

        Each process does so alone: none waits for another before its figures are there.

        Args:
            error: What was raised.

        Raises:
            OutOfMemory: If not even one sample fits.
        """
        release()
        size = self.validation_size
        where = f"{self._title}: out of memory in validation with {size} at once"
        if size == 1:
            raise OutOfMemory(
                f"{where}: use runtime.precision bf16, or take a smaller model or image"
            ) from error
        log.warning("%s; trying again with %d, for the rest of the run", where, size // 2)
        self._validated = size // 2
