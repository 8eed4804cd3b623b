"""Nodes of the pretraining pipeline: unpack, call the library, return."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_store import FrameStore
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.arms import PretrainingArm, reseeded
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import ModelSettings
from crossprobe.pipelines.pretraining.settings import ContrastivePretraining, MimPretraining
from crossprobe.training.settings import RuntimeSettings, TrainingSettings

if TYPE_CHECKING:
    from crossprobe.models.input_scaling import InputScaling
    from crossprobe.ssl.nt_xent import NtXentSettings
    from crossprobe.training.session import TrainingSession


def pretrain_mim(
    frames: FrameStore,
    split: dict,
    arm: PretrainingArm,
    stage: MimPretraining,
    model: ModelSettings,
    folders: Folders,
    runtime: RuntimeSettings,
    arm_name: str,
    repeat: int = 0,
) -> tuple[Checkpoint, pd.DataFrame, Figure]:
    """Pretrains an encoder by masked image modelling on the unlabelled target."""
    import torch

    from crossprobe.reporting.panels import ReconstructionPanel, reconstruction_panels
    from crossprobe.tasks.masked_image import MaskedImageJob, MaskedImageTask

    training = reseeded(stage.training, arm, repeat)
    session, scaling = _session(
        f"pretrain.{arm_name}",
        frames,
        split,
        training,
        stage.standardise,
        folders,
        runtime,
    )
    job = MaskedImageJob(model=model.config(), masking=stage.masking, scaling=scaling)
    result = session.run(job)
    task = session.trained(job, result.weights)
    assert isinstance(task, MaskedImageTask)
    count = len(session.validation_rows)
    shown = np.linspace(0, count - 1, min(stage.panels, count)).astype(np.int64)
    manifest = frames.manifest.iloc[session.validation_rows[shown]]
    pictures = [tensor.squeeze(1).float().cpu().numpy() for tensor in task.panels(torch.from_numpy(shown))]
    titles = [f"{row.view} · frame {row.frame}" for row in manifest.itertuples()]
    panels = [ReconstructionPanel(*panel) for panel in zip(titles, *pictures, strict=True)]
    figure = reconstruction_panels(panels)
    return _checkpoint("mim", result, session, model, scaling), result.history, figure


def pretrain_contrastive(
    frames: FrameStore,
    split: dict,
    arm: PretrainingArm,
    stage: ContrastivePretraining,
    model: ModelSettings,
    folders: Folders,
    runtime: RuntimeSettings,
    arm_name: str,
    repeat: int = 0,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Pretrains an encoder by contrastive learning on the unlabelled target."""
    from crossprobe.tasks.contrastive import ContrastiveJob

    training = reseeded(stage.training, arm, repeat)
    session, scaling = _session(
        f"pretrain.{arm_name}",
        frames,
        split,
        training,
        stage.standardise,
        folders,
        runtime,
    )
    job = ContrastiveJob(
        model=model.config(),
        projection=stage.projection,
        augment=stage.augment,
        sampling=stage.sampler,
        loss=_contrastive_loss(stage, arm),
        scaling=scaling,
    )
    result = session.run(job)
    return _checkpoint("contrastive", result, session, model, scaling), result.history


def _contrastive_loss(stage: ContrastivePretraining, arm: PretrainingArm) -> NtXentSettings:
    given = {"temperature": arm.temperature, "frame_gap": arm.frame_gap}
    changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if arm.random_mask:
        changes["control"] = "random_mask"
    return stage.loss.model_copy(update=changes)


def _session(
    title: str,
    frames: FrameStore,
    split: dict,
    training: TrainingSettings,
    standardise: bool,
    folders: Folders,
    runtime: RuntimeSettings,
) -> tuple[TrainingSession, InputScaling]:
    from crossprobe.models.input_scaling import InputScaling
    from crossprobe.training.runtime import resolve
    from crossprobe.training.session import TrainingSession

    rows, selection = frames.rows(split["parts"]["train"]), frames.rows(split["parts"]["selection"])
    mean, std = frames.statistics(rows) if standardise else (0.0, 1.0)
    session = TrainingSession(title, frames, rows, selection, training, resolve(runtime), folders.progress)
    return session, InputScaling(mean=mean, std=std)


def _checkpoint(
    form: str, result: object, session: TrainingSession, model: ModelSettings, scaling: InputScaling
) -> Checkpoint:
    from crossprobe.models.checkpoint import Checkpoint
    from crossprobe.training.loop import TrainingResult

    assert isinstance(result, TrainingResult)
    config = {
        "form": form,
        "model": model.config().model_dump(mode="json"),
        "scaling": scaling.model_dump(mode="json"),
    }
    return Checkpoint(result.weights, config, session.provenance(result))
