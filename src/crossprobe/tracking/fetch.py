"""From the name of a model to its verified package; MLflow's own loader has no part in it."""

from __future__ import annotations

import re
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from crossprobe.errors import RegistryError
from crossprobe.prediction.package import Package
from crossprobe.tracking.registry import PACKAGE_HASH, Registry

URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))$")


@dataclass(frozen=True)
class FetchedModel:
    """A package and what it is called in the registry; a folder has no version."""

    package: Package
    name: str
    version: int | None

    def title(self) -> str:
        """Name and version, for tables and logs."""
        return self.name if self.version is None else f"{self.name}/{self.version}"


def fetch_model(model: str, tracking_uri: str) -> FetchedModel:
    """Finds, downloads and verifies a model.

    Args:
        model: `models:/name@alias`, `models:/name/version`, or a folder that holds a package.
        tracking_uri: Where the registry is.

    Returns:
        The model.

    Raises:
        RegistryError: No such model, version or alias.
        PackageRefused: What was found is edited, incomplete, or no model of ours.
    """
    if not model.startswith("models:"):
        return FetchedModel(Package.load(Path(model)), Path(model).name, None)
    registry, version = find_version(model, tracking_uri)
    tags = registry.tags(version)
    with download(registry, version) as folder:
        package = Package.load(Path(folder), tags.get(PACKAGE_HASH, "not registered by crossprobe"))
    return FetchedModel(package, registry.name, version)


def find_version(model: str, tracking_uri: str) -> tuple[Registry, int]:
    """Resolves a name in the registry.

    Args:
        model: `models:/name@alias` or `models:/name/version`.
        tracking_uri: Where the registry is.

    Returns:
        The registered model and the number of the version.

    Raises:
        RegistryError: No such model, version or alias.
    """
    found = URI.fullmatch(model)
    if found is None:
        raise RegistryError(
            f"'{model}' names no model: write models:/NAME@champion, models:/NAME/VERSION, or a folder"
        )
    registry = Registry(tracking_uri, found["name"])
    rows = registry.rows()
    if found["version"] is not None:
        registry.tags(int(found["version"]))
        return registry, int(found["version"])
    aliases = {alias: row.version for row in rows for alias in row.aliases}
    if found["alias"] not in aliases:
        known = ", ".join(f"{alias} (version {version})" for alias, version in aliases.items()) or "none"
        raise RegistryError(
            f"{registry.name} has no alias '{found['alias']}'; there are: {known}. A version becomes "
            "champion through the gate or by `crossprobe promote VERSION`"
        )
    return registry, aliases[found["alias"]]


def download(registry: Registry, version: int) -> AbstractContextManager[str]:
    """Downloads the package of a version into a folder that is deleted afterwards.

    Args:
        registry: The registered model.
        version: Number of the version.

    Returns:
        A context that gives the folder.
    """
    return _Download(registry, version)


class _Download(AbstractContextManager[str]):
    def __init__(self, registry: Registry, version: int) -> None:
        self.registry, self.version = registry, version
        self.scratch = tempfile.TemporaryDirectory(prefix="crossprobe-model-")

    def __enter__(self) -> str:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        registry = self.registry
        try:
            # Asked of the client and not by a `models:` address, which MLflow looks up in the process's own
            # registry, whichever that is.
            source = registry.client.get_model_version_download_uri(registry.name, str(self.version))
            return download_artifacts(
                artifact_uri=f"{source.rstrip('/')}/artifacts/package",
                dst_path=self.scratch.name,
                tracking_uri=registry.uri,
            )
        except (MlflowException, OSError) as error:
            self.scratch.cleanup()
            raise RegistryError(
                f"{self.registry.name} version {self.version}: its package cannot be fetched "
                f"({type(error).__name__}); is it a model of crossprobe, and are its artifacts still there?"
            ) from error

    def __exit__(self, *_: object) -> None:
        self.scratch.cleanup()
