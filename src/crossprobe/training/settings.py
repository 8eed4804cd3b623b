"""What a training run is told: its budget, its optimiser and the machine it runs on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class OptimiserSettings(BaseModel):
    """An optimiser and its constants, named as torch names them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd", "adam", "adamw"] = Field("adamw", description="Update rule")
    learning_rate: float = Field(gt=0, description="Peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (sgd, adam) or decoupled decay (adamw)")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd; unused by the others")


class EarlyStoppingSettings(BaseModel):
    """When a run ends before its budget: the validation figure no longer falls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_delta: float = Field(0.001, ge=0, description="A smaller fall of the figure is none")
    patience: int = Field(3, gt=0, description="Validations without a fall before the run ends")


class PlateauSettings(BaseModel):
    """When the learning rate falls under the schedule `plateau`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: float = Field(0.5, gt=0, lt=1, description="What the rate is multiplied by")
    min_delta: float = Field(0.0, ge=0, description="A smaller fall of the validation figure is none")
    patience: int = Field(3, gt=0, description="Validations without a fall before the rate falls")


class TrainingSettings(BaseModel):
    """The budget and the course of one training run.

    The budget is counted in optimiser steps, so that arms can be matched whatever the size of their data;
    a paper's schedule in epochs is accepted and converted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int | None = Field(None, gt=0, description="Optimiser steps; give this or epochs")
    epochs: float | None = Field(None, gt=0, description="Passes over the training set; give this or steps")
    batch_size: int = Field(gt=0, description="Samples an optimiser step sees, over all micro-batches")
    accumulate: int = Field(1, gt=0, description="Micro-batches a step is split into")
    optimiser: OptimiserSettings
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine", description="Learning rate after the warm-up"
    )
    plateau: PlateauSettings = Field(default_factory=PlateauSettings)
    early_stopping: EarlyStoppingSettings | None = Field(
        None, description="End early; the whole budget is used when empty"
    )
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up")
    gradient_clip: float | None = Field(None, gt=0, description="Largest norm of the gradient")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="Average the weights with this decay")
    validate_every: int = Field(100, gt=0, description="Steps between validations")
    save_every: int = Field(200, gt=0, description="Steps between checkpoints to resume from")
    keep: Literal["best", "last"] = Field("best", description="Weights kept: best validation or last step")
    seed: int = Field(0, ge=0, description="Seed of initial weights, order and augmentation")

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingSettings:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )
        return self

    def total_steps(self, samples: int) -> int:
        """Counts the optimiser steps of the whole run.

        Args:
            samples: Size of the training set.

        Returns:
            `steps`, or `epochs` converted, never below 1.
        """
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * samples / self.batch_size))


class DistributionSettings(BaseModel):
    """How many processes share one training run, and how machines find each other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(1, ge=1, description="Machines; every further one runs `crossprobe.training.join`")
    processes_per_node: PositiveInt | Literal["auto"] = Field(
        1, description="Processes a machine; auto: one a GPU, one on a CPU"
    )
    rendezvous: str | None = Field(
        None,
        pattern=r"^[^\s:]+:\d{1,5}$",
        description="`host:port` of the machine that runs the pipeline, as the others reach it; needed above "
        "one node",
    )
    timeout_s: float = Field(
        600.0, gt=0, description="Longest wait for another process or machine, seconds; then the run fails"
    )
    max_restarts: int = Field(
        1, ge=0, description="How often all processes start again from the checkpoint after one died"
    )
    synchronise_norm: bool = Field(
        True, description="Batch norm over the samples of all processes; false: of each process alone"
    )

    @model_validator(mode="after")
    def _place_to_meet(self) -> DistributionSettings:
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError(
                f"runtime.distribution.nodes is {self.nodes}: set runtime.distribution.rendezvous to "
                "`host:port` of the machine that runs the pipeline"
            )
        return self


class InferenceSettings(BaseModel):
    """How trained branches are run when nothing is learnt from it; scores are taken in fp32 all the same.

    In single precision branches run as they were trained, kernel by kernel or recorded; the other short cuts
    are for half precision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32", description="Of masks for new files; auto: bf16 where the chip has it. In fp32 every way of "
        "prediction gives one mask",
    )  # fmt: skip
    folded: bool = Field(True, description="bf16: fold into the weights what depends on them alone")
    cuda_graphs: bool | Literal["auto"] = Field(
        "auto",
        description="On a GPU, record the kernels of a batch size and replay them at once; auto: in bf16",
    )
    recorded_batch_sizes: int = Field(
        4, ge=1, description="Batch sizes recorded at most; further ones run kernel by kernel"
    )
    compiled: bool = Field(
        False, description="bf16: let torch.compile fuse kernels; takes minutes and needs a compiler"
    )


class RuntimeSettings(BaseModel):
    """Where and how precisely to compute; `auto` picks what is fast and safe on the machine at hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="cuda where there is one, else cpu")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="bf16 where the chip has it")
    channels_last: bool = Field(True, description="Memory layout of convolutions")
    tf32: bool = Field(
        True, description="CUDA: round the factors of fp32 products to TF32; the contrastive loss never does"
    )
    fused_optimiser: bool | Literal["auto"] = Field(
        "auto", description="One kernel a step for the update rule; auto: on CUDA"
    )
    compile: bool = Field(False, description="torch.compile of the module in training; pays after minutes")
    micro_batch: PositiveInt | Literal["auto"] | None = Field(
        None,
        description="Most samples a process computes at once; the batch of a step stays what it is. auto: "
        "the most that fit, by trial, on CUDA. Empty: `accumulate` decides",
    )
    threads: int | None = Field(None, gt=0, description="Threads of torch; its own choice when empty")
    workers: int | None = Field(None, gt=0, description="Processes for decoding and the phantom; all cores")
    distribution: DistributionSettings = Field(default_factory=DistributionSettings)
    inference: InferenceSettings = Field(
        default_factory=InferenceSettings, description="Runs of trained branches"
    )
