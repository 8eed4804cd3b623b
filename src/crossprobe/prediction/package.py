"""A model as it travels: a folder of safetensors and one JSON file that names the hash of every other file.

Whatever a folder holds beside what its list names is refused, and so is a file whose hash differs. Nothing is
ever unpickled: a pickle in the folder, under any name, is a stranger or fails its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossprobe.data.fingerprint import file_hash, fingerprint
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.errors import PackageRefused
from crossprobe.fusion.ensemble import Ensemble, FusedAnswer
from crossprobe.fusion.predictor import Predictor
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.prediction.class_reading import ClassReadingRule
from crossprobe.prediction.reading_rule import ReadingRule
from crossprobe.prediction.stream_settings import StreamSettings
from crossprobe.training.runtime import Runtime

INDEX = "package.json"
SUFFIXES = (".json", ".safetensors", ".md")


class PackageBranch(BaseModel):
    """One trained network of the package, a checkpoint in `branches/<name>`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^\w[\w.-]*$", description="Name of the arm it was trained as")
    temperature: float = Field(gt=0, description="Divides its logits")
    bias: float = Field(0.0, description="Added to its divided logits")


class PackageIndex(BaseModel):
    """What `package.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["crossprobe package 1"] = "crossprobe package 1"
    kind: Literal["segmenter", "classifier"] = Field(description="What the branches answer: masks or classes")
    arm: str = Field(description="Arm of the tables that this model is")
    branches: tuple[PackageBranch, ...] = Field(min_length=1, description="Networks that answer together")
    answer: FusedAnswer = Field(description="How branches make one answer")
    frames: FrameSettings = Field(description="How frames of the training data were prepared")
    threshold: float = Field(0.5, gt=0, lt=1, description="Probability from which a pixel is foreground")
    reading: ReadingRule | None = Field(None, description="Which frames a person should read")
    classes: tuple[str, ...] = Field((), description="Names of the classes; none for a segmenter")
    class_reading: ClassReadingRule | None = Field(
        None, description="Which classified frames a person should read; none for a segmenter"
    )
    provenance: dict[str, Any] = Field(description="Study, and hashes of the data and splits behind it")
    run: str = Field("", description="Tracked run that made it; no part of the fingerprint")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 by path, for every file")

    def fingerprint(self) -> str:
        """Hashes what the model is: everything but the run that happened to make it."""
        return fingerprint(self.model_dump(mode="json", exclude={"run"}))


@dataclass(frozen=True)
class Package:
    """A model with everything that is needed to use it.

    Attributes:
        index: What it is.
        checkpoints: One a branch, in order.
        folder: Where it was loaded from; None for one that was not saved yet.
    """

    index: PackageIndex
    checkpoints: Sequence[Checkpoint]
    folder: Path | None = None

    def save(self, folder: Path) -> Path:
        """Writes the package; a folder of this name is whole or not there.

        Args:
            folder: Replaced where it exists.

        Returns:
            The folder.
        """
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        for branch, checkpoint in zip(self.index.branches, self.checkpoints, strict=True):
            checkpoint.save(partial / "branches" / branch.name)
        files = {name: file_hash(partial / name) for name in _files_below(partial)}
        index = self.index.model_copy(update={"files": files})
        text = json.dumps(index.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        (partial / INDEX).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
        return folder

    @classmethod
    def load(cls, folder: Path, sha256: str | None = None) -> Package:
        """Reads a package and verifies every file of it.

        Args:
            folder: As given to `save`.
            sha256: Hash that `package.json` must have, as the registry remembers it.

        Returns:
            The package, weights on the CPU.

        Raises:
            PackageRefused: Anything missing, added, edited, or not in this format.
        """
        index = read_index(folder, sha256)
        _verify(folder, index)
        names = [branch.name for branch in index.branches]
        return cls(index, [Checkpoint.load(folder / "branches" / name) for name in names], folder)

    def ensemble(self, runtime: Runtime) -> Ensemble:
        """Rebuilds the model.

        Args:
            runtime: Device and precision.

        Returns:
            The ensemble, with one answer named as the arm.

        Raises:
            PackageRefused: The package holds no segmenter.
        """
        if self.index.kind != "segmenter":
            raise PackageRefused(
                f"{self.index.arm} is a {self.index.kind}; masks are asked for, which a segmenter gives"
            )
        branches = self.index.branches
        return Ensemble(
            Predictor.from_checkpoints(self.checkpoints, runtime),
            [branch.temperature for branch in branches],
            {self.index.arm: self.index.answer},
            [branch.name for branch in branches],
            [branch.bias for branch in branches],
        )

    def stream(self, batch_size: int) -> StreamSettings:
        """Says how new frames are prepared: as those of the training data were."""
        return StreamSettings.like(self.index.frames, batch_size=batch_size, threshold=self.index.threshold)


def read_index(folder: Path, sha256: str | None = None) -> PackageIndex:
    """Reads `package.json` alone.

    Args:
        folder: The package.
        sha256: Hash that the file must have.

    Returns:
        What it says.

    Raises:
        PackageRefused: The file is missing, edited, or not in this format.
    """
    path = folder / INDEX
    if not path.is_file() or path.is_symlink():
        raise PackageRefused(
            f"{folder} holds no {INDEX}, so it is no model of crossprobe; a pickle or a bare file of weights "
            "is not loaded: register a model with `kedro run --pipeline=register`"
        )
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise PackageRefused(
            f"{path} was changed after its registration (SHA-256 differs); do not use this model, "
            "take another version (`crossprobe models`)"
        )
    try:
        return PackageIndex.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        raise PackageRefused(
            f"{path}: {place}: {first['msg']}; this version reads its own format only"
        ) from None


def index_hash(folder: Path) -> str:
    """Hashes `package.json`, and with it, through its list, every file."""
    return file_hash(folder / INDEX)


def _verify(folder: Path, index: PackageIndex) -> None:
    for name in index.files:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or re.search(r"[\\\0]", name):
            raise PackageRefused(f"{folder / INDEX} names '{name}': a path that leads out of the package")
    found = set(_files_below(folder)) - {INDEX}
    if strangers := sorted(found - set(index.files)):
        raise PackageRefused(
            f"{folder} holds {', '.join(strangers[:3])}, which its {INDEX} does not name; nothing is loaded"
        )
    if missing := sorted(set(index.files) - found):
        raise PackageRefused(f"{folder} lacks {', '.join(missing[:3])}; fetch the model again")
    for name, expected in index.files.items():
        if Path(name).suffix not in SUFFIXES:
            raise PackageRefused(f"{folder}: '{name}' is neither safetensors nor JSON; nothing is loaded")
        if (folder / name).is_symlink() or file_hash(folder / name) != expected:
            raise PackageRefused(
                f"{folder / name} was changed or damaged (SHA-256 differs from {INDEX}); fetch the model "
                "again, or take another version (`crossprobe models`)"
            )


def _files_below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir()]
