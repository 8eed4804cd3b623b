"""The model registry: versions, the aliases `challenger` and `champion`, and the way back.

Everything that is known about a version stands in its own tags, so that two writers never edit one text. The
order in which versions became champion is a counter, not a time: clocks jump.

An alias and tags cannot change in one step. So a move of the champion is written down first, then the alias
moves, then the tags follow. If the process dies in between, the alias says what became of it: where it has
moved, whoever comes next writes the tags; where it has not, the move is forgotten.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from crossprobe.errors import RegistryError
from crossprobe.tracking.registry_lock import registry_lock

log = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"
PREFIX = "crossprobe."
FINGERPRINT = PREFIX + "fingerprint"
PACKAGE_HASH = PREFIX + "package_sha256"
ORDER = PREFIX + "champion_order"
SINCE = PREFIX + "champion_since"
REASON = PREFIX + "champion_reason"
WITHDRAWN = PREFIX + "withdrawn"
MOVE = PREFIX + "champion_move"


@dataclass(frozen=True)
class ModelRow:
    """One version as people look at it.

    Attributes:
        version: Its number.
        aliases: Such as `champion`.
        created: UTC, to the second, ISO format.
        run: Tracked run that made it.
        tags: Its tags without the common prefix.
    """

    version: int
    aliases: tuple[str, ...]
    created: str
    run: str
    tags: Mapping[str, str]


class Registry:
    """One registered model.

    Args:
        uri: Tracking URI, which is the registry's too.
        name: Name of the registered model, such as `crossprobe-wrist`.
    """

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name
        self.client = MlflowClient(uri, registry_uri=uri)

    def rows(self) -> list[ModelRow]:
        """Lists all versions, newest first.

        Raises:
            RegistryError: No model of this name is registered.
        """
        aliases = self._aliases()
        return [
            ModelRow(
                version=int(found.version),
                aliases=tuple(sorted(alias for alias, at in aliases.items() if at == int(found.version))),
                created=_utc(found.creation_timestamp / 1000),
                run=found.run_id or "",
                tags={
                    key.removeprefix(PREFIX): value
                    for key, value in found.tags.items()
                    if key.startswith(PREFIX)
                },
            )
            for found in self._versions()
        ]

    def champion(self) -> int | None:
        """The version in use; None where there is none, or no model of this name yet."""
        try:
            return self._aliases().get(CHAMPION)
        except RegistryError:
            return None

    def tags(self, version: int) -> dict[str, str]:
        """Tags of a version.

        Args:
            version: Its number.

        Raises:
            RegistryError: There is no such version.
        """
        try:
            return dict(self.client.get_model_version(self.name, str(version)).tags)
        except MlflowException:
            raise RegistryError(f"{self.name} has no version {version}; {self._known()}") from None

    def rival_of(self, version: int | None) -> int | None:
        """Gives the champion that a model is to be compared with.

        Args:
            version: Of the model, if it has one already.

        Returns:
            Version of the champion; None where there is none, or where it is this very model.
        """
        champion = self.champion()
        return None if champion == version else champion

    def version_with(self, fingerprint: str) -> int | None:
        """The version that is this very model, if one is registered.

        Args:
            fingerprint: Of its package.
        """
        try:
            same = [found for found in self._versions() if found.tags.get(FINGERPRINT) == fingerprint]
        except RegistryError:
            return None
        return min((int(found.version) for found in same), default=None)

    def register(self, source: str, run_id: str, tags: Mapping[str, str]) -> tuple[int, bool]:
        """Makes a version and points `challenger` at it; a model that is there already is not made twice.

        Where a run died before it could point `challenger` at the newest version, that is made good.

        Args:
            source: URI of the logged model.
            run_id: Run that made it.
            tags: Must hold `FINGERPRINT` and `PACKAGE_HASH`.

        Returns:
            The version, and whether it is new.
        """
        with registry_lock(self.uri):
            known = self.version_with(tags[FINGERPRINT])
            if known is not None:
                self._point_at_newest(known)
                return known, False
            self._ensure_model()
            made = self.client.create_model_version(
                self.name,
                source,
                run_id=run_id or None,
                tags=dict(tags),
                model_id=source.removeprefix("models:/") if source.startswith("models:/m-") else None,
            )
            version = int(made.version)
            self.client.set_registered_model_alias(self.name, CHALLENGER, str(version))
            return version, True

    def promote(self, version: int, reason: str, instead_of: int | None) -> bool:
        """Makes a version the champion, unless the champion changed since it was compared.

        Args:
            version: The version.
            reason: Kept with it.
            instead_of: The champion it was compared with; None if there was none.

        Returns:
            Whether it is champion now. If not, nothing was changed, or another writer came after us.

        Raises:
            RegistryError: There is no such version.
        """
        self.tags(version)
        with registry_lock(self.uri):
            self._end_move()
            present = self.champion()
            if present == version:
                return True
            if present != instead_of:
                return False
            orders = [int(found.tags.get(ORDER, 0)) for found in self._versions()]
            marks = {
                ORDER: str(max(orders, default=0) + 1),
                SINCE: _utc(datetime.datetime.now(datetime.UTC).timestamp()),
                REASON: reason,
                WITHDRAWN: "",
            }
            self._move(version, version, marks)
            return self.champion() == version

    def rollback(self, reason: str) -> tuple[int, int]:
        """Makes the champion before the present one champion again.

        Args:
            reason: Kept with the version that is withdrawn; not empty.

        Returns:
            The version withdrawn and the one in use now.

        Raises:
            RegistryError: No reason, there is no champion, or none before it.
        """
        if not reason.strip():
            raise RegistryError("a rollback needs a reason, such as --reason 'misses the distal end'")
        with registry_lock(self.uri):
            self._end_move()
            present = self.champion()
            if present is None:
                raise RegistryError(f"{self.name} has no champion to roll back from; {self._known()}")
            versions = {int(found.version): found.tags for found in self._versions()}
            here = int(versions[present].get(ORDER, 0))
            before = {
                version: int(tags[ORDER])
                for version, tags in versions.items()
                if tags.get(ORDER) and not tags.get(WITHDRAWN) and int(tags[ORDER]) < here
            }
            if not before:
                raise RegistryError(
                    f"{self.name}: version {present} is the first champion, there is none to go back to; "
                    "name one with `crossprobe promote VERSION --force REASON`"
                )
            back = max(before, key=lambda version: before[version])
            self._move(back, present, {WITHDRAWN: reason})
            return present, back

    def annotate(self, version: int, tags: Mapping[str, str]) -> None:
        """Adds tags to a version.

        Args:
            version: Its number.
            tags: Keys with their prefix, and values.
        """
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version), key, value)

    def _move(self, champion: int, marked: int, marks: Mapping[str, str]) -> None:
        """Moves the alias, and then gives a version its tags; the caller holds the lock."""
        move = {"champion": champion, "marked": marked, "marks": dict(marks)}
        self.client.set_registered_model_tag(self.name, MOVE, json.dumps(move))
        self.client.set_registered_model_alias(self.name, CHAMPION, str(champion))
        self._end_move()

    def _end_move(self) -> None:
        """Ends the move that is written down, whoever began it."""
        text = self._model().tags.get(MOVE)
        if not text:
            return
        move, aliases = json.loads(text), self._aliases()
        if aliases.get(CHAMPION) == move["champion"]:
            self.annotate(move["marked"], move["marks"])
            if aliases.get(CHALLENGER) == move["champion"]:
                self.client.delete_registered_model_alias(self.name, CHALLENGER)
        self.client.set_registered_model_tag(self.name, MOVE, "")

    def _point_at_newest(self, version: int) -> None:
        """Points `challenger` at a version that is the newest and never was champion."""
        aliases, newest = self._aliases(), self._versions()[0]
        if int(newest.version) != version or newest.tags.get(ORDER) or aliases.get(CHAMPION) == version:
            return
        if aliases.get(CHALLENGER) != version:
            self.client.set_registered_model_alias(self.name, CHALLENGER, str(version))

    def _ensure_model(self) -> None:
        try:
            self.client.create_registered_model(
                self.name, description="A model of crossprobe. A triage aid for research, not a diagnosis."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _aliases(self) -> dict[str, int]:
        return {alias: int(version) for alias, version in self._model().aliases.items()}

    def _model(self) -> Any:
        try:
            return self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RegistryError(
                f"no model named {self.name} in {self.uri}; {known_models(self.client)}"
            ) from None

    def _versions(self) -> list[Any]:
        self._aliases()  # says which names there are if this one does not exist
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: -int(version.version))

    def _known(self) -> str:
        try:
            versions = ", ".join(str(found.version) for found in self._versions())
        except RegistryError as error:
            return str(error)
        return f"it has {versions or 'none yet'}"


def known_models(client: MlflowClient) -> str:
    """Says which models a registry has.

    Args:
        client: Of the registry.
    """
    names = ", ".join(model.name for model in client.search_registered_models())
    return f"registered are {names}" if names else "none is registered yet: `kedro run` registers one"


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
