"""Errors a user can act on: each names the file, row or key, what was expected and what to do."""

from __future__ import annotations


class CrossprobeError(ValueError):
    """Base of every error that crossprobe raises on purpose."""


class UnreadableMedia(CrossprobeError):
    """A video, image or DICOM file that gives no usable frame."""


class InvalidMetadata(CrossprobeError):
    """A table whose columns, ids or values break the documented layout."""


class LabelsNotAllowed(CrossprobeError):
    """Code without the right to labels asked a frame store for masks."""


class LeakageFound(CrossprobeError):
    """The same patient, video or near-identical frame stands in two parts of a split."""


class CoverageError(CrossprobeError):
    """A checkpoint fills less of a model than the caller asked for."""


class StoreError(CrossprobeError):
    """A frame store that is missing, unfinished or of another format."""


class TrainingDiverged(CrossprobeError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


class OutOfMemory(CrossprobeError):
    """A training step does not fit into memory, and cannot be cut into smaller pieces."""


class RankFailed(CrossprobeError):
    """A process of a run over several processes or machines died or did not come; the checkpoint is kept."""


class PackageRefused(CrossprobeError):
    """A folder offered as a model that is incomplete, edited, or no model of ours."""


class RegistryError(CrossprobeError):
    """A model, version or alias that the registry does not have, or a change it cannot make."""


class LedgerError(CrossprobeError):
    """A ledger of arrivals that is locked, damaged, or written by a newer version."""


class FolderBusy(CrossprobeError):
    """Another run writes into the same data folder."""
