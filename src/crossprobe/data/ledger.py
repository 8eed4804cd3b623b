"""The ledger: which recording was seen when, what became of it, and which part each patient is in.

It lies outside the raw data and holds no name: a path appears as the keyed pseudonym that manifests carry,
and the cache of file hashes knows paths by keyed pseudonyms too. A recording counts as ingested only after
its frames lie in a finished store.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from crossprobe.data import ledger_tables as tables
from crossprobe.data.file_hashes import FileState, HashCache, KnownHash
from crossprobe.data.ledger_database import migrate, open_engine, sqlite_url, transaction
from crossprobe.data.pseudonym import pseudonym
from crossprobe.errors import LedgerError

State = Literal["new", "ingested", "rejected", "gone"]
URL_VARIABLE = "CROSSPROBE_LEDGER_URL"


class LedgerSettings(BaseModel):
    """The ledger of arrivals. A database elsewhere is named by the variable CROSSPROBE_LEDGER_URL alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path = Field(description="SQLite file, outside of raw data")
    database_wait_seconds: float = Field(30.0, ge=0, description="How long to wait for a locked database, s")
    lock_wait_seconds: float = Field(
        600.0, ge=0, description="How long to wait for another run that writes the same frames, s"
    )
    settle_seconds: float = Field(
        2.0, ge=0, description="Files written less than this ago are looked at twice, this far apart, s; a "
        "file that changes in between is left for the next time. The phantom's are not"
    )  # fmt: skip
    keep_stores: int = Field(
        3, ge=1, description="Frame stores of a site that stay, the last used ones; older ones are deleted"
    )
    largest_loss: float = Field(
        0.5, gt=0, le=1, description="If a larger share of the ingested recordings is gone at once, the run "
        "stops: the folder may not be mounted. 1 allows all to go"
    )  # fmt: skip


class Observation(NamedTuple):
    """A recording as it lies in the folder now.

    `state` is `ingested` or `rejected` after the frames stage, `new` if it has to wait.
    """

    video: str
    patient: str | None
    device: str | None
    content: str | None
    labels: str | None
    size_bytes: int | None
    state: State = "ingested"
    reason: str | None = None


@dataclass(frozen=True)
class Arrivals:
    """What an ingestion found, against the one before, as lists of videos."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    unchanged: int = 0

    def counts(self) -> dict[str, int]:
        """Counts each list."""
        lists = {name: len(getattr(self, name)) for name in ("new", "changed", "renamed", "gone", "waiting")}
        return {**lists, "unchanged": self.unchanged}

    @property
    def anything(self) -> bool:
        """Whether the data differ from before; what still waits is no difference yet."""
        return bool(self.new or self.changed or self.renamed or self.gone)


class Ledger:
    """A connection to the ledger; use it in a `with` block.

    Args:
        url: SQLAlchemy URL; made and brought up to date where needed.
        salt: For the pseudonyms of paths.
        wait_seconds: How long to wait for a locked database, s.

    Raises:
        LedgerError: It is locked, damaged, newer than this crossprobe, or cannot be reached.
    """

    def __init__(self, url: str, salt: str, wait_seconds: float = 30.0):
        self._salt = salt
        self._engine = open_engine(url, wait_seconds)
        migrate(self._engine)

    @classmethod
    def open(cls, settings: LedgerSettings, salt: str, url: str | None = None) -> Ledger:
        """Opens the ledger that the settings, or a URL, name.

        Args:
            settings: Where and how long to wait.
            salt: For the pseudonyms of paths.
            url: A database elsewhere; None takes the settings' file.

        Raises:
            LedgerError: As for the class.
        """
        return cls(url or sqlite_url(settings.file), salt, settings.database_wait_seconds)

    def __enter__(self) -> Self:
        """Gives the ledger itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the database."""
        self._engine.dispose()

    def hashes(self) -> HashCache:
        """Gives the hashes of files on record."""
        with transaction(self._engine) as connection:
            rows = connection.execute(sa.select(tables.files)).all()
        known = {
            row.path_key: KnownHash(
                FileState(row.size_bytes, row.mtime_ns, row.ctime_ns, int(row.inode)), row.sha256
            )
            for row in rows
        }
        return HashCache(lambda path: pseudonym("video", f"file\0{path}", self._salt), known)

    def begin(
        self,
        site: str,
        collection: str,
        observed: Collection[Observation],
        largest_loss: float,
        experiment_run: str | None = None,
    ) -> int:
        """Opens a run and notes what is seen for the first time as `new`; nothing counts as ingested yet.

        Args:
            site: Whose recordings.
            collection: Which body of data of that site; another one has rows of its own.
            observed: What lies in the folder now.
            largest_loss: Share of the ingested recordings that may be gone at once.
            experiment_run: MLflow's id of the run, if there is one.

        Returns:
            The run's number.

        Raises:
            LedgerError: More is gone than that.
        """
        with transaction(self._engine) as connection:
            rows = self._rows(connection, site, collection)
            ingested = {video for video, row in rows.items() if row.state == "ingested"}
            here = {item.video for item in observed}
            # As many new names as lost ones may be renamed files; contents are not known yet. A name that
            # only a killed run saw is as new as one that nobody saw.
            settled = {video for video, row in rows.items() if row.state != "new"}
            gone = max(0, len(ingested - here) - len(here - settled))
            if gone > largest_loss * len(ingested):
                raise LedgerError(
                    f"site {site!r}: {gone} of {len(ingested)} ingested recordings are gone at once. Is the "
                    "folder mounted, and the table whole? Nothing was changed. If they were taken out on "
                    "purpose, run once with ledger.largest_loss=1"
                )
            statement = sa.insert(tables.runs).values(
                site=site, collection=collection, started=_now(), experiment_run=experiment_run
            )
            run = int(connection.execute(statement.returning(tables.runs.c.id)).scalar_one())
            for item in observed:
                if item.video not in rows:
                    values = {**item._asdict(), "state": "new", "reason": item.reason or "being ingested"}
                    self._insert(connection, site, collection, values, run)
        return run

    def finish(
        self,
        site: str,
        collection: str,
        run: int,
        observed: Collection[Observation],
        frame_store: str,
        hashes: HashCache | None = None,
    ) -> Arrivals:
        """Records what became of every recording, in one transaction, after the frames are safely stored.

        A row whose video is not observed but whose content turns up under another name is renamed; otherwise
        it is gone. A recording that waits keeps the content it was ingested with.

        Args:
            site: Whose recordings.
            collection: As for `begin`.
            run: Number of the run.
            observed: What lies in the folder, with the state each recording reached.
            frame_store: Fingerprint of the finished store.
            hashes: Hashes of files taken in this run, to remember.

        Returns:
            What was new, changed, renamed and gone against the last finished run.
        """
        with transaction(self._engine) as connection:
            rows = self._rows(connection, site, collection)
            before = {
                video: row for video, row in rows.items() if row.state != "new" and row.content is not None
            }
            found = self._match(connection, rows, before, observed, site, collection, run)
            statement = sa.update(tables.runs).where(tables.runs.c.id == run)
            connection.execute(statement.values(ended=_now(), frame_store=frame_store))
            if hashes is not None:
                self._remember(connection, hashes)
        return found

    def recordings(self, site: str, collection: str | None = None) -> list[dict[str, Any]]:
        """Lists the rows of a site.

        Args:
            site: Whose.
            collection: One body of data only; None lists all.

        Returns:
            Rows as dictionaries, ordered by video.
        """
        query = sa.select(tables.recordings).where(tables.recordings.c.site == site)
        if collection is not None:
            query = query.where(tables.recordings.c.collection == collection)
        with transaction(self._engine) as connection:
            rows = connection.execute(query.order_by(tables.recordings.c.video)).mappings().all()
        return [dict(row) for row in rows]

    def runs(self) -> int:
        """Counts the finished ingestions of all sites."""
        query = sa.select(sa.func.count()).where(tables.runs.c.ended.is_not(None))
        with transaction(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def assignments(self, site: str, collection: str, scheme: str) -> dict[str, str]:
        """Gives the part of every patient who was ever dealt to one, gone ones included.

        Args:
            site: Whose patients.
            collection: As for `begin`.
            scheme: Hash of the split's settings; other settings are another split.

        Returns:
            Part by pseudonym.
        """
        with transaction(self._engine) as connection:
            return self._assigned(connection, site, collection, scheme)

    def assign(self, site: str, collection: str, scheme: str, parts: Mapping[str, str]) -> None:
        """Records the parts of patients who have none yet.

        Args:
            site: Whose patients.
            collection: As for `begin`.
            scheme: As for `assignments`.
            parts: Part by pseudonym.

        Raises:
            LedgerError: A patient would move to another part, or another run dealt the same ones just now.
        """
        table = tables.assignments
        mine = (table.c.site == site, table.c.collection == collection, table.c.scheme == scheme)
        with transaction(self._engine) as connection:
            known = self._assigned(connection, site, collection, scheme)
            moved = sorted(patient for patient, part in parts.items() if known.get(patient, part) != part)
            if moved:
                raise LedgerError(
                    f"site {site!r}: patients {moved[:5]} would move to another part; the ledger says where "
                    "they are. Another run may have split at the same time: run again"
                )
            fresh = {patient: part for patient, part in parts.items() if patient not in known}
            if not fresh:
                return
            last = connection.execute(sa.select(sa.func.max(table.c.wave)).where(*mine)).scalar()
            rows = [
                {"site": site, "collection": collection, "scheme": scheme, "patient": patient, "part": part,
                 "wave": 0 if last is None else last + 1}
                for patient, part in sorted(fresh.items())
            ]  # fmt: skip
            connection.execute(sa.insert(table), rows)

    def image_groups(self, site: str, collection: str) -> dict[str, str]:
        """Gives the group of every image that was ever seen, gone ones included, by the hash of its pixels.

        Args:
            site: Whose images.
            collection: As for `begin`.
        """
        table = tables.image_groups
        query = sa.select(table.c.content, table.c.patient)
        query = query.where(table.c.site == site, table.c.collection == collection)
        with transaction(self._engine) as connection:
            return {row.content: row.patient for row in connection.execute(query)}

    def remember_groups(self, site: str, collection: str, groups: Mapping[str, str]) -> None:
        """Records the group of images that have none yet.

        Args:
            site: Whose images.
            collection: As for `begin`.
            groups: Pseudonym of the group, by content.

        Raises:
            LedgerError: Another run put one of them into another group at the same time.
        """
        table = tables.image_groups
        where = {"site": site, "collection": collection}
        with transaction(self._engine) as connection:
            query = sa.select(table.c.content, table.c.patient).filter_by(**where)
            known = {row.content: row.patient for row in connection.execute(query)}
            moved = [content for content, name in groups.items() if known.get(content, name) != name]
            if moved:
                raise LedgerError(
                    f"site {site!r}: {len(moved)} images would move to another group of near-copies; another "
                    "run read the folder at the same time: run again"
                )
            fresh = [
                {**where, "content": content, "patient": name}
                for content, name in sorted(groups.items())
                if content not in known
            ]
            if fresh:
                connection.execute(sa.insert(table), fresh)

    def decide(self, values: Mapping[str, Any]) -> int:
        """Records a decision about training again.

        Args:
            values: data_hash, patients (pseudonyms by site), retrain, reason, experiment_run.

        Returns:
            The decision's number.
        """
        with transaction(self._engine) as connection:
            statement = sa.insert(tables.decisions).values(at=_now(), **values)
            return int(connection.execute(statement.returning(tables.decisions.c.id)).scalar_one())

    def trained(self, decision: int) -> None:
        """Records that the training a decision asked for has ended well.

        Args:
            decision: Its number.
        """
        with transaction(self._engine) as connection:
            table = tables.decisions
            connection.execute(sa.update(table).where(table.c.id == decision).values(trained=_now()))

    def last_trained(self) -> dict[str, Any] | None:
        """Gives the decision whose training ended last, or None."""
        table = tables.decisions
        query = sa.select(table).where(table.c.trained.is_not(None)).order_by(table.c.id.desc()).limit(1)
        with transaction(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else dict(row)

    def open_decision(self) -> dict[str, Any] | None:
        """Gives the last decision to train whose training has not ended well, or None."""
        table = tables.decisions
        query = sa.select(table).where(table.c.retrain, table.c.trained.is_(None))
        with transaction(self._engine) as connection:
            row = connection.execute(query.order_by(table.c.id.desc()).limit(1)).mappings().first()
        return None if row is None else dict(row)

    def _assigned(self, connection: Connection, site: str, collection: str, scheme: str) -> dict[str, str]:
        table = tables.assignments
        rows = connection.execute(sa.select(table.c.patient, table.c.part).where(
            table.c.site == site, table.c.collection == collection, table.c.scheme == scheme
        ))  # fmt: skip
        return {row.patient: row.part for row in rows}

    def _rows(self, connection: Connection, site: str, collection: str) -> dict[str, Any]:
        table = tables.recordings
        query = sa.select(table).where(table.c.site == site, table.c.collection == collection)
        return {row.video: row for row in connection.execute(query)}

    def _match(
        self,
        connection: Connection,
        rows: Mapping[str, Any],
        before: Mapping[str, Any],
        observed: Collection[Observation],
        site: str,
        collection: str,
        run: int,
    ) -> Arrivals:
        """Compares what lies there with what is on record and writes the differences."""
        table = tables.recordings
        present = {item.video for item in observed}
        lost: dict[str, list[str]] = {}
        for video in sorted(set(before) - present):
            if before[video].state != "gone":
                lost.setdefault(before[video].content, []).append(video)
        sorts: dict[str, list[str]] = {name: [] for name in ("new", "changed", "renamed", "waiting")}
        unchanged = 0
        for item in sorted(observed):
            old = before.get(item.video)
            if item.state == "new":
                sorts["waiting"].append(item.video)
                if old is not None:
                    continue
            elif old is None:
                names = lost.get(item.content or "", [])
                sorts["renamed" if names else "new"].append(item.video)
                if names:
                    old = before[names.pop(0)]
                    # The row made when the new name was first seen gives way to the one with the history.
                    connection.execute(sa.delete(table).where(table.c.id == rows[item.video].id))
            elif old.state == "gone":
                sorts["new"].append(item.video)
            elif (old.content, old.labels, old.patient) != (item.content, item.labels, item.patient):
                sorts["changed"].append(item.video)
            else:
                unchanged += 1
            self._write(connection, old or rows.get(item.video), item, site, collection, run)
        gone = sorted(video for names in lost.values() for video in names)
        stale = gone + sorted(v for v in rows if rows[v].state == "new" and v not in present)
        for video in stale:
            change = {
                "state": "gone",
                "reason": "no longer in the folder, or not in its table",
                "run_id": run,
            }
            connection.execute(sa.update(table).where(table.c.id == rows[video].id).values(**change))
        lists = {name: tuple(videos) for name, videos in sorts.items()}
        return Arrivals(**lists, gone=tuple(gone), unchanged=unchanged)

    def _write(
        self, connection: Connection, row: Any, item: Observation, site: str, collection: str, run: int
    ) -> None:
        values = item._asdict()
        if row is None:
            self._insert(connection, site, collection, values, run)
            return
        if any(getattr(row, name) != value for name, value in values.items()):
            table = tables.recordings
            statement = sa.update(table).where(table.c.id == row.id)
            connection.execute(statement.values(**values, run_id=run))

    def _insert(
        self, connection: Connection, site: str, collection: str, values: Mapping[str, Any], run: int
    ) -> None:
        statement = sa.insert(tables.recordings)
        where = {"site": site, "collection": collection, "first_seen": _now(), "run_id": run}
        connection.execute(statement.values(**values, **where))

    def _remember(self, connection: Connection, hashes: HashCache) -> None:
        if not hashes.fresh:
            return
        table = tables.files
        keys = sorted(set(hashes.fresh) & set(hashes.known))
        for start in range(0, len(keys), 500):
            connection.execute(sa.delete(table).where(table.c.path_key.in_(keys[start : start + 500])))
        rows = [
            {"path_key": key, "size_bytes": entry.state.size, "mtime_ns": entry.state.mtime_ns,
             "ctime_ns": entry.state.ctime_ns, "inode": str(entry.state.inode), "sha256": entry.sha256}
            for key, entry in sorted(hashes.fresh.items())
        ]  # fmt: skip
        connection.execute(sa.insert(table), rows)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
