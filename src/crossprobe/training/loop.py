"""The one training loop: step budget, schedule, average of weights, validation, resume.

It serves every task (`crossprobe.training.task.Task`). Order and augmentation are functions of the step
and the seed, so a run that was killed goes on from its last checkpoint and, on a CPU, ends with the same
bits as one that was not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor, nn

from crossprobe.errors import OutOfMemory, TrainingDiverged
from crossprobe.progress import track
from crossprobe.training.compiling import give_up_compiling, is_compiler_error
from crossprobe.training.counter_random import random_words
from crossprobe.training.gradient_average import GradientAverage
from crossprobe.training.memory import is_out_of_memory
from crossprobe.training.pieces import Pieces
from crossprobe.training.progress_file import Progress, load_finished, load_progress, save_progress
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import OptimiserSettings, TrainingSettings
from crossprobe.training.stagnation import has_stagnated, plateau_scale
from crossprobe.training.synchronised_norm import synchronise_norms
from crossprobe.training.task import Task

log = logging.getLogger(__name__)

Found = TypeVar("Found")

_RANK_STREAM = 102
NAMED_SAMPLES = 8
PROGRESS_NAME = "progress.safetensors"
HISTORY_COLUMNS = ["step", "part", "metric", "value"]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves.

    Attributes:
        weights: State dict of the kept weights, on the CPU.
        history: Long table of step, part (`train` or `validation`), metric and value.
        best_step: Step whose weights were kept.
        best_figure: Their validation figure.
        steps: Optimiser steps done.
        identity: Fingerprint of the run.
    """

    weights: dict[str, Tensor]
    history: pd.DataFrame
    best_step: int
    best_figure: float
    steps: int
    identity: str


def train(
    task: Task,
    settings: TrainingSettings,
    samples: int,
    folder: Path,
    identity: str,
    title: str = "train",
    runtime: Runtime | None = None,
) -> TrainingResult:
    """Trains a task to the end of its budget, from where it stood if it was interrupted.

    Among several processes each computes its share of every batch, and the first one writes.

    Args:
        task: What to train.
        settings: Budget, optimiser, schedule and what to keep.
        samples: Size of the training set, to convert a budget in epochs.
        folder: Where the state to resume from lies.
        identity: Fingerprint of data, parameters and code; guards against resuming another run.
        title: Shown beside the progress bar and in the log.
        runtime: The task's machine; a lone CPU if not given.

    Returns:
        The kept weights and the history.

    Raises:
        TrainingDiverged: If the loss or a validation figure becomes NaN or infinite; the last good state
            stays on disk.
        OutOfMemory: If not even the smallest micro-batch fits, or the update of the weights does not.
        CrossprobeError: If the batch cannot be dealt evenly to the processes, or `folder` holds another run.
    """
    runtime = runtime or Runtime(torch.device("cpu"), bf16=False, channels_last=False)
    return _Run(task, settings, settings.total_steps(samples), folder, identity, title, runtime).finish()


def finished(settings: TrainingSettings, samples: int, folder: Path, identity: str) -> TrainingResult | None:
    """Gives what a finished run left, without building its task.

    Args:
        settings: As given to `train`.
        samples: As given to `train`.
        folder: As given to `train`.
        identity: As given to `train`.

    Returns:
        The result; None if the run has not begun or not ended.

    Raises:
        CrossprobeError: If `folder` holds another run.
    """
    found = load_finished(folder / PROGRESS_NAME, identity, settings.total_steps(samples))
    return None if found is None else _result(found[1], found[0], identity)


def _result(weights: dict[str, Tensor], progress: Progress, identity: str) -> TrainingResult:
    history = pd.DataFrame(progress.history, columns=HISTORY_COLUMNS)
    return TrainingResult(weights, history, progress.best_step, progress.best_figure, progress.step, identity)


class _Run:
    """State of a run in memory."""

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        total: int,
        folder: Path,
        identity: str,
        title: str,
        runtime: Runtime,
    ) -> None:
        self.task, self.settings, self.total, self.identity, self.title = (
            task, settings, total, identity, title,
        )  # fmt: skip
        self.path, self.runtime, self.ranks = folder / PROGRESS_NAME, runtime, runtime.ranks
        self.pieces = Pieces(task, settings, runtime, folder, title)
        self.optimiser = build_optimiser(task.module, settings.optimiser, runtime.fused_optimiser)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = _copy(task.module) if settings.ema_decay else {}
        torch.manual_seed(settings.seed)
        if self.path.exists():
            self._resume()
        else:
            self.pieces.fit()
        if runtime.settings.distribution.synchronise_norm:
            synchronise_norms(task.module, self.ranks, runtime.device)
        trained = [parameter for parameter in task.module.parameters() if parameter.requires_grad]
        self.exchange = GradientAverage(trained, self.ranks.count) if self.ranks.count > 1 else None
        if runtime.settings.compile:
            task.module.compile()

    def finish(self) -> TrainingResult:
        settings, progress = self.settings, self.progress
        remaining = range(progress.step, progress.step if progress.finished else self.total)
        shown = track(remaining, self.title, total=len(remaining)) if self.ranks.first else remaining
        for step in shown:
            loss, figures = self._step(step)
            progress.step = step + 1
            last = progress.step == self.total
            if progress.step % max(1, settings.validate_every // 5) == 0 or last:
                self._record("train", {"loss": loss, "learning_rate": self._rate(step), **figures})
            if progress.step % settings.validate_every == 0 or last:
                self._validate()
                if not last and has_stagnated(self._figures(), settings.early_stopping):
                    log.info("%s: ended early at step %d of %d", self.title, progress.step, self.total)
                    progress.stopped_early = True
                    break
            if progress.step % settings.save_every == 0 and not last:
                self._save()
        if not progress.finished:
            self._compact()
        return _result(self.best, progress, self.identity)

    def _step(self, step: int) -> tuple[float, dict[str, float]]:
        settings, module = self.settings, self.task.module
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step)
        module.train()
        loss, figures = self._persist(lambda: self._attempt(step), lambda error: self.pieces.cut(step, error))
        self._check("loss", loss, step)
        # Also where nothing is clipped: a gradient that overflows under a finite loss spoils the weights.
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip or math.inf))
        self._check("gradient", norm, step)
        self._update(step)
        if settings.ema_decay:
            self._update_average(settings.ema_decay)
        return loss, {"gradient_norm": norm, **figures}

    def _update(self, step: int) -> None:
        """Moves the weights; not tried again, since some of them may have moved when memory ran out."""
        try:
            self.optimiser.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"{self.title}: out of memory in the update of step {step}, which smaller micro-batches do "
                f"not help; the last good state is {self.path}; take a smaller model, or the optimiser sgd"
            ) from error

    def _persist(self, compute: Callable[[], Found], cut: Callable[[BaseException], None]) -> Found:
        """Computes, in smaller pieces or without compilation if it must be."""
        while True:
            try:
                return compute()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) and not is_compiler_error(error):
                    raise
                problem = error.with_traceback(None)
            # Outside the handler: until here the traceback held the tensors of the failed attempt.
            self.optimiser.zero_grad(set_to_none=True)
            if is_out_of_memory(problem):
                cut(problem)
            else:
                give_up_compiling(self.task.module, self.title, problem)

    def _attempt(self, step: int) -> tuple[float, dict[str, float]]:
        if self.ranks.count > 1:
            # Different numbers in every process, and the same after a resume, though only the first saves.
            torch.manual_seed(_step_seed(self.settings.seed, step, self.ranks.rank))
        self.optimiser.zero_grad(set_to_none=True)
        pieces = self.pieces.of(step)
        losses: list[Tensor] = []
        found: list[Mapping[str, float | Tensor]] = []
        for number, piece in enumerate(pieces):
            loss, figures = self.task.loss(piece)
            found.append(figures)
            if self.exchange is not None and number == len(pieces) - 1:
                self.exchange.arm()
            (loss / len(pieces)).backward()
            losses.append(loss.detach())
            # Before anything waits for the device, which is still busy with this piece.
            self.pieces.announce(pieces, number)
        if self.exchange is not None:
            self.exchange.finish()
        total = 0.0
        for loss in losses:
            total += float(loss) / len(pieces)
        averages = _averages(found)
        total, *means = self.ranks.means([total, *averages.values()], self.runtime.device)
        return total, dict(zip(averages, means, strict=True))

    def _check(self, name: str, value: float, step: int, validated: bool = False) -> None:
        if math.isfinite(value):
            return
        seen = (
            "" if validated else f" ({self._samples(self.task.sampler.batch(step).rows[:NAMED_SAMPLES])} …)"
        )
        raise TrainingDiverged(
            f"{self.title}: the {name} became {value} at step {step}{seen}; "
            f"the last good state is {self.path}; lower the learning rate or set gradient_clip"
        )

    def _samples(self, rows: Tensor) -> str:
        names = getattr(self.task, "names", None)
        return f"rows {rows.tolist()}" if names is None else f"frames {', '.join(names(rows))}"

    def _rate(self, step: int) -> float:
        rate = learning_rate(step, self.total, self.settings)
        if self.settings.schedule == "plateau":
            rate *= plateau_scale(self._figures(), self.settings.plateau)
        return rate

    def _figures(self) -> list[float]:
        """The deciding figure of every validation so far."""
        wanted = ("validation", self.task.figure)
        return [row["value"] for row in self.progress.history if (row["part"], row["metric"]) == wanted]

    def _update_average(self, decay: float) -> None:
        for name, value in self.task.module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _validate(self) -> None:
        module, progress = self.task.module, self.progress
        if not self.runtime.settings.distribution.synchronise_norm:
            self.ranks.average_([buffer for buffer in module.buffers() if buffer.is_floating_point()])
        current = _copy(module) if self.average else None
        if self.average:
            module.load_state_dict(self.average)
        module.eval()
        with torch.no_grad():
            figures = self._persist(
                lambda: self.task.validate(self.pieces.validation_size), self.pieces.cut_validation
            )
        for name, value in figures.items():
            self._check(f"validation figure {name}", value, progress.step, validated=True)
        self._record("validation", figures)
        figure = figures[self.task.figure]
        if self.settings.keep == "last" or figure < progress.best_figure:
            progress.best_figure, progress.best_step = figure, progress.step
            if self.ranks.first:
                self.best = {name: value.cpu() for name, value in _copy(module).items()}
        if current is not None:
            module.load_state_dict(current)
        log.info(
            "%s: step %d of %d, %s %.4f", self.title, progress.step, self.total, self.task.figure, figure
        )

    def _record(self, part: str, figures: dict[str, float]) -> None:
        for metric, value in figures.items():
            self.progress.history.append(
                {"step": self.progress.step, "part": part, "metric": metric, "value": float(value)}
            )

    def _save(self) -> None:
        if not self.ranks.first:
            return
        self.progress.micro_batch = self.pieces.fitting
        roles = {"module": self.task.module.state_dict(), "best": self.best, "average": self.average}
        save_progress(self.path, self.identity, self.progress, roles, self.optimiser)

    def _compact(self) -> None:
        """Leaves of a finished run only what is asked of it later; checkpoints hold the weights again."""
        done = replace(self.progress, finished=True, micro_batch=self.pieces.fitting)
        if self.ranks.first:
            if not self.best:
                raise TrainingDiverged(
                    f"{self.title}: no validation up to step {done.step} left weights to keep; remove "
                    f"{self.path} to start afresh"
                )
            save_progress(self.path, self.identity, done, {"best": self.best}, None)
        self.progress = done

    def _resume(self) -> None:
        self.progress, roles = load_progress(
            self.path, self.identity, self.total, self.task.module, self.optimiser
        )
        self.best = roles.get("best", {})
        self.pieces.limit(self.progress.micro_batch)
        device = next(self.task.module.parameters()).device
        self.average = {name: value.to(device) for name, value in roles.get("average", {}).items()}
        log.info("%s: resumed at step %d of %d", self.title, self.progress.step, self.total)


def build_optimiser(
    module: nn.Module, settings: OptimiserSettings, fused: bool = False
) -> torch.optim.Optimizer:
    """Builds an optimiser over the trainable parameters of a module.

    Args:
        module: What to train.
        settings: Rule and constants.
        fused: Whether one kernel updates all weights; rounding may differ.

    Returns:
        The optimiser.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    # None, not false: torch then chooses as it does when not asked.
    kernel = True if fused else None
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.name == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, fused=kernel)
    rule = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return rule(parameters, lr=rate, weight_decay=decay, fused=kernel)


def learning_rate(step: int, total: int, settings: TrainingSettings) -> float:
    """Gives the learning rate of a step: linear warm-up, then constant or half a cosine to zero.

    What `plateau` takes off depends on the validation figures and comes on top, see `plateau_scale`.

    Args:
        step: Step number, from zero.
        total: Steps of the whole run.
        settings: Peak rate, warm-up and schedule.

    Returns:
        The rate.
    """
    peak = settings.optimiser.learning_rate
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    if settings.schedule != "cosine":
        return peak
    share = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * share))


def _averages(pieces: list[Mapping[str, float | Tensor]]) -> dict[str, float]:
    """Mean of each figure over the micro-batches that gave it."""
    names = dict.fromkeys(name for figures in pieces for name in figures)
    return {name: fmean(float(figures[name]) for figures in pieces if name in figures) for name in names}


def _step_seed(seed: int, step: int, rank: int) -> int:
    words = random_words(1, seed, step, torch.tensor([rank]), _RANK_STREAM)
    return int(words[0, 0] & 0x7FFFFFFFFFFFFFFF)


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
