"""The one training loop: step budget, schedule, average of weights, validation, resume.

It serves every task (`crossprobe.training.task.Task`). Order and augmentation are functions of the step
and the seed, so a run that was killed goes on from its last checkpoint and, on a CPU, ends with the same
bits as one that was not.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from crossprobe.errors import TrainingDiverged
from crossprobe.progress import track
from crossprobe.training.progress_file import Progress, load_progress, save_progress
from crossprobe.training.settings import OptimiserSettings, TrainingSettings
from crossprobe.training.stagnation import has_stagnated, plateau_scale
from crossprobe.training.task import Task

log = logging.getLogger(__name__)

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
    """

    weights: dict[str, Tensor]
    history: pd.DataFrame
    best_step: int
    best_figure: float
    steps: int


def train(
    task: Task, settings: TrainingSettings, samples: int, folder: Path, identity: str, title: str = "train"
) -> TrainingResult:
    """Trains a task to the end of its budget, from where it stood if it was interrupted.

    Args:
        task: What to train.
        settings: Budget, optimiser, schedule and what to keep.
        samples: Size of the training set, to convert a budget in epochs.
        folder: Where the state to resume from lies.
        identity: Fingerprint of data, parameters and code; guards against resuming another run.
        title: Shown beside the progress bar and in the log.

    Returns:
        The kept weights and the history.

    Raises:
        TrainingDiverged: If the loss becomes NaN or infinite; the last good state stays on disk.
    """
    return _Run(task, settings, settings.total_steps(samples), folder, identity, title).finish()


class _Run:
    """State of a run in memory."""

    def __init__(
        self, task: Task, settings: TrainingSettings, total: int, folder: Path, identity: str, title: str
    ) -> None:
        self.task, self.settings, self.total, self.identity, self.title = (
            task, settings, total, identity, title,
        )  # fmt: skip
        self.path = folder / "progress.safetensors"
        self.optimiser = build_optimiser(task.module, settings.optimiser)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = _copy(task.module) if settings.ema_decay else {}
        torch.manual_seed(settings.seed)
        if self.path.exists():
            self._resume()

    def finish(self) -> TrainingResult:
        settings, progress = self.settings, self.progress
        remaining = range(progress.step, progress.step if progress.finished else self.total)
        for step in track(remaining, self.title, total=len(remaining)):
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
        history = pd.DataFrame(progress.history, columns=HISTORY_COLUMNS)
        return TrainingResult(self.best, history, progress.best_step, progress.best_figure, progress.step)

    def _step(self, step: int) -> tuple[float, dict[str, float]]:
        settings, module = self.settings, self.task.module
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step)
        module.train()
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        figures: dict[str, float] = {}
        for batch in self.task.sampler.batch(step).split(settings.accumulate):
            loss, figures = self.task.loss(batch)
            (loss / settings.accumulate).backward()
            total += float(loss.detach()) / settings.accumulate
        self._check("loss", total, step)
        # Also where nothing is clipped: a gradient that overflows under a finite loss spoils the weights.
        norm = nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip or math.inf)
        self._check("gradient", float(norm), step)
        self.optimiser.step()
        if settings.ema_decay:
            self._update_average(settings.ema_decay)
        return total, {"gradient_norm": float(norm), **figures}

    def _check(self, name: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            rows = self.task.sampler.batch(step).rows
            raise TrainingDiverged(
                f"{self.title}: the {name} became {value} at step {step} (rows {rows[:8].tolist()} …); "
                f"the last good state is {self.path}; lower the learning rate or set gradient_clip"
            )

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
        current = _copy(module) if self.average else None
        if self.average:
            module.load_state_dict(self.average)
        module.eval()
        with torch.no_grad():
            figures = self.task.validate()
        self._record("validation", figures)
        figure = figures[self.task.figure]
        if self.settings.keep == "last" or figure < progress.best_figure:
            progress.best_figure, progress.best_step = figure, progress.step
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
        roles = {"module": self.task.module.state_dict(), "best": self.best, "average": self.average}
        save_progress(self.path, self.identity, self.progress, roles, self.optimiser)

    def _compact(self) -> None:
        """Leaves of a finished run only what is asked of it later; checkpoints hold the weights again."""
        finished = replace(self.progress, finished=True)
        save_progress(self.path, self.identity, finished, {"best": self.best}, None)
        self.progress = finished

    def _resume(self) -> None:
        self.progress, roles = load_progress(
            self.path, self.identity, self.total, self.task.module, self.optimiser
        )
        self.best = roles.get("best", {})
        device = next(self.task.module.parameters()).device
        self.average = {name: value.to(device) for name, value in roles.get("average", {}).items()}
        log.info("%s: resumed at step %d of %d", self.title, self.progress.step, self.total)


def build_optimiser(module: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Builds an optimiser over the trainable parameters of a module.

    Args:
        module: What to train.
        settings: Rule and constants.

    Returns:
        The optimiser.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    rule = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return rule(parameters, lr=rate, weight_decay=decay)


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


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
