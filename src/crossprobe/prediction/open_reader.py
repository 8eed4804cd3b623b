"""Opens a package for whatever it answers."""

from __future__ import annotations

from crossprobe.prediction.class_reader import ClassReader
from crossprobe.prediction.judged import Reader
from crossprobe.prediction.package import Package
from crossprobe.training.runtime import Runtime


def open_reader(package: Package, runtime: Runtime) -> Reader | ClassReader:
    """Loads a model to read clips with.

    Args:
        package: The model.
        runtime: Device and precision.

    Returns:
        A reader that gives masks, or one that gives classes.
    """
    return ClassReader(package, runtime) if package.index.kind == "classifier" else Reader(package, runtime)
