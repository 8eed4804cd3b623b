"""Settings of how branches are run when nothing is learnt from it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class InferenceSettings(BaseModel):
    """Short cuts of half-precision inference; in single precision none is taken, so that scores stay put."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folded: bool = Field(True, description="Fold into the weights what depends on them alone")
    cuda_graphs: bool = Field(
        True, description="On a GPU, record the kernels of a batch size and replay them at once"
    )
    recorded_batch_sizes: int = Field(
        4, ge=1, description="Batch sizes recorded at most; further ones run kernel by kernel"
    )
    compiled: bool = Field(
        False, description="Let torch.compile fuse kernels; takes minutes and needs a compiler"
    )
