"""Opens the ledger's database and brings its tables up to date, or says why that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError

from crossprobe.errors import LedgerError

MIGRATIONS = Path(__file__).parent / "ledger_migrations"
# Any number; every crossprobe takes the same one, so that two never migrate one PostgreSQL ledger at once.
ADVISORY_LOCK = 718_281_828


def sqlite_url(file: Path) -> str:
    """Names an SQLite file the way SQLAlchemy wants it.

    Args:
        file: Its path.

    Returns:
        The URL.
    """
    return f"sqlite:///{Path(file).absolute()}"


def open_engine(url: str, wait_seconds: float) -> Engine:
    """Opens a database; nothing is read yet.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        wait_seconds: How long a statement waits for another process to let go of the database, s.

    Returns:
        The engine. SQLite transactions take the write lock when they begin, so two writers queue up and
        neither fails half-way; steps that change tables are undone whole when the process dies.

    Raises:
        LedgerError: No such kind of database, or its driver is missing.
    """
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            if address.database:
                _make_folder(Path(address.database))
            engine = sa.create_engine(url, connect_args={"timeout": wait_seconds}, poolclass=sa.NullPool)
            sa.event.listen(engine, "connect", _no_implicit_transactions)
            sa.event.listen(engine, "begin", _begin_immediately)
            return engine
        if address.get_backend_name() != "postgresql":
            raise LedgerError(
                f"{_hidden(url)}: a ledger is SQLite or PostgreSQL; correct CROSSPROBE_LEDGER_URL"
            )
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        options = f"-c lock_timeout={int(wait_seconds * 1000)}"
        return sa.create_engine(
            address, connect_args={"options": options, "connect_timeout": 10}, poolclass=sa.NullPool
        )
    except ArgumentError as error:
        raise LedgerError(
            "CROSSPROBE_LEDGER_URL is no database URL; expected something like "
            "postgresql://user@host/database"
        ) from error
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"{_hidden(url)}: its driver {error.name!r} is missing; in the checkout of "
            "crossprobe: pip install -e '.[postgres]'"
        ) from error


def migrate(engine: Engine) -> None:
    """Brings a ledger to the newest version, in one transaction.

    Args:
        engine: Of the ledger; a database without tables gets them.

    Raises:
        LedgerError: It is newer than this crossprobe, no database, or locked.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(configuration)
    with speaking(engine), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"select pg_advisory_xact_lock({ADVISORY_LOCK})"))
        found = MigrationContext.configure(connection).get_current_revision()
        known = [step.revision for step in scripts.walk_revisions()]
        if found == known[0]:
            return
        if found is not None and found not in known:
            raise LedgerError(
                f"{_hidden(str(engine.url))}: the ledger is of version {found}, this crossprobe knows "
                f"{known[0]} and older; install the crossprobe that wrote it, or a newer one"
            )
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Runs statements that count together or not at all.

    Args:
        engine: Of the ledger.

    Yields:
        The connection.

    Raises:
        LedgerError: The database is locked, full, gone or damaged, or another run wrote the same rows.
    """
    with speaking(engine), engine.begin() as connection:
        yield connection


@contextmanager
def speaking(engine: Engine) -> Iterator[None]:
    """Turns what a database says into what the user can do about it.

    Args:
        engine: Of the ledger.
    """
    where = _hidden(str(engine.url))
    try:
        yield
    except OperationalError as error:
        text = str(error.orig).strip().splitlines()[0]
        if "locked" in text or "lock timeout" in text:
            raise LedgerError(
                f"{where}: the ledger is locked by another process ({text}); run again when that has ended, "
                "or set ledger.database_wait_seconds to wait longer"
            ) from error
        raise LedgerError(
            f"{where}: the ledger cannot be used ({text}); check that the place exists, may be written and "
            "has space"
        ) from error
    except IntegrityError as error:
        # Seen with PostgreSQL, whose writers do not queue up from the first read on.
        raise LedgerError(
            f"{where}: another run wrote the same rows at the same time; nothing was changed, run again"
        ) from error
    except DatabaseError as error:
        text = str(error.orig).strip().splitlines()[0]
        raise LedgerError(
            f"{where}: the ledger is damaged or no ledger ({text}); put a copy of it back, or move it away "
            "and run again to make a new one (patients are then dealt to parts anew)"
        ) from error


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"{file}: the ledger cannot lie there ({error.strerror}); choose another ledger.file"
        ) from error


def _hidden(url: str) -> str:
    try:
        address = make_url(url)
    except ArgumentError:
        return "the ledger"
    return address.database or "" if address.get_backend_name() == "sqlite" else repr(address)


def _no_implicit_transactions(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
