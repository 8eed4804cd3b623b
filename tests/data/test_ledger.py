from __future__ import annotations

import datetime
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from crossprobe.data import ledger_tables as tables
from crossprobe.data.ledger import Ledger, LedgerSettings, Observation
from crossprobe.data.ledger_database import MIGRATIONS, migrate, open_engine, sqlite_url, transaction
from crossprobe.errors import LedgerError

SALT = "a salt for tests"


def observation(number: int, **changes) -> Observation:
    plain = Observation(f"v_{number:012x}", "p_1", "Lumify", f"{number:064x}", None, 10)
    return plain._replace(**changes)


def ingest(ledger: Ledger, observed: list[Observation], largest_loss: float = 1.0, collection: str = "c"):
    run = ledger.begin("source", collection, observed, largest_loss)
    return ledger.finish("source", collection, run, observed, "store")


def states(ledger: Ledger) -> dict[str, str]:
    return {row["video"]: row["state"] for row in ledger.recordings("source")}


@pytest.fixture
def url(tmp_path) -> str:
    return sqlite_url(tmp_path / "new folder" / "ledger.sqlite")


@pytest.fixture
def ledger(url):
    with Ledger(url, SALT) as opened:
        yield opened


def postgres_urls():
    """A PostgreSQL of its own for the test, as a user who may run one."""
    pytest.importorskip("psycopg")
    if not (shutil.which("initdb") and shutil.which("postgres") and shutil.which("pg_ctl")):
        pytest.skip("no PostgreSQL on this machine")
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    # A short name: the path of a socket may have 107 characters.
    data = Path(tempfile.mkdtemp(prefix="pg"))
    if prefix:
        shutil.chown(data, 65534, 65534)
    control = [*prefix, "pg_ctl", "-D", str(data / "db"), "-w", "-t", "300"]
    options = f"-k {data} -c listen_addresses='' -c fsync=off"
    log = data / "log"
    commands = [
        [*prefix, "initdb", "-D", str(data / "db"), "-U", "tester", "-A", "trust"],
        [*control, "-l", str(log), "-o", options, "start"],
    ]
    stop = [*control, "-m", "immediate", "stop"]
    environment = {**os.environ, "HOME": str(data)}
    try:
        for command in commands:
            # No pipes: the server would hold them open.
            done = subprocess.run(command, stdout=subprocess.DEVNULL, cwd=data, env=environment, check=False)
            assert done.returncode == 0, log.read_text() if log.exists() else command
        yield f"postgresql://tester@/postgres?host={data}"
    finally:
        subprocess.run(stop, stdout=subprocess.DEVNULL, cwd=data, env=environment, check=False)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_ledger(request, tmp_path):
    generator = postgres_urls() if request.param == "postgresql" else None
    url = next(generator) if generator else sqlite_url(tmp_path / "ledger.sqlite")
    try:
        with Ledger(url, SALT) as opened:
            yield opened
    finally:
        if generator:
            next(generator, None)


def test_everything_that_happens_to_recordings(any_ledger):
    ledger = any_ledger
    assert ledger.runs() == 0
    first = ingest(ledger, [observation(n) for n in range(5)])
    assert first.counts() == {"new": 5, "changed": 0, "renamed": 0, "gone": 0, "waiting": 0, "unchanged": 0}
    born = {row["content"]: (row["id"], row["first_seen"]) for row in ledger.recordings("source")}
    second = ingest(
        ledger,
        [
            observation(0, content="e" * 64, state="rejected", reason="broken"),
            observation(1, video="v_renamed"),
            observation(2, content=None, state="new", reason="still being copied"),
            observation(3),
            observation(9),
        ],
    )
    counts = {"new": 1, "changed": 1, "renamed": 1, "gone": 1, "waiting": 1, "unchanged": 1}
    assert second.counts() == counts
    rows = {row["video"]: row for row in ledger.recordings("source")}
    assert rows["v_renamed"]["content"] == f"{1:064x}"
    assert (rows["v_renamed"]["id"], rows["v_renamed"]["first_seen"]) == born[f"{1:064x}"]
    assert rows[observation(0).video]["reason"] == "broken"
    assert rows[observation(2).video]["state"] == "ingested"
    assert rows[observation(4).video]["state"] == "gone"
    back = ingest(ledger, [observation(4), observation(3), observation(9)])
    assert (back.new, len(back.gone)) == ((observation(4).video,), 3)
    assert ledger.runs() == 3


def test_nothing_counts_before_its_frames_are_safe(any_ledger):
    any_ledger.begin("source", "c", [observation(1)], 1.0)
    assert states(any_ledger) == {observation(1).video: "new"}
    assert any_ledger.runs() == 0


def test_patients_decisions_and_hashes_survive(any_ledger, tmp_path):
    file = tmp_path / "a.avi"
    file.write_bytes(b"clip")
    os.utime(file, (1, 1))
    ledger = any_ledger
    ledger.assign("source", "c", "s", {"p_1": "train", "p_2": "test"})
    ledger.assign("source", "c", "s", {"p_1": "train", "p_3": "val"})
    assert ledger.assignments("source", "c", "s") == {"p_1": "train", "p_2": "test", "p_3": "val"}
    assert ledger.assignments("source", "c", "other") == {}
    with pytest.raises(LedgerError, match=r"patients \['p_2'\] would move to another part"):
        ledger.assign("source", "c", "s", {"p_2": "train"})
    assert ledger.last_trained() is None
    values = {"data_hash": "h", "patients": {"source": ["p_1"]}, "retrain": True, "reason": "r"}
    number = ledger.decide(values)
    assert ledger.last_trained() is None
    ledger.trained(number)
    assert ledger.last_trained()["patients"] == {"source": ["p_1"]}


def test_groups_of_images_are_remembered_and_never_change(any_ledger):
    any_ledger.remember_groups("source", "a", {"1" * 64: "p_one", "2" * 64: "p_one"})
    any_ledger.remember_groups("source", "a", {"2" * 64: "p_one", "3" * 64: "p_two"})
    assert any_ledger.image_groups("source", "a") == {"1" * 64: "p_one", "2" * 64: "p_one", "3" * 64: "p_two"}
    assert any_ledger.image_groups("source", "b") == {}
    with pytest.raises(LedgerError, match="1 images would move to another group"):
        any_ledger.remember_groups("source", "a", {"3" * 64: "p_one", "4" * 64: "p_one"})
    assert "4" * 64 not in any_ledger.image_groups("source", "a")


def test_two_bodies_of_data_of_one_site_do_not_disturb_each_other(ledger):
    ingest(ledger, [observation(1)], collection="one")
    assert ingest(ledger, [observation(2)], collection="two").gone == ()
    assert set(states(ledger).values()) == {"ingested"}


def test_a_great_loss_stops_before_anything_is_written(ledger):
    ingest(ledger, [observation(n) for n in range(4)])
    with pytest.raises(LedgerError, match="3 of 4 ingested recordings are gone at once"):
        ledger.begin("source", "c", [observation(0)], 0.5)
    assert set(states(ledger).values()) == {"ingested"}
    # Renamed files are not lost.
    renamed = [observation(n, video=f"v_other{n}") for n in range(4)]
    assert len(ingest(ledger, renamed, 0.5).renamed) == 4


def test_a_killed_run_does_not_turn_renamed_files_into_lost_ones(ledger):
    ingest(ledger, [observation(n) for n in range(4)])
    renamed = [observation(n, video=f"v_other{n}") for n in range(4)]
    ledger.begin("source", "c", renamed, 0.5)
    assert len(ingest(ledger, renamed, 0.5).renamed) == 4


def test_two_runs_that_split_at_once_agree(url):
    """The second run starts while the first stands between reading and writing."""
    parts = {"p_1": "train", "p_2": "test"}
    errors, others = [], []

    def split() -> None:
        try:
            with Ledger(url, SALT) as other:
                other.assign("source", "c", "s", parts)
        except LedgerError as error:
            errors.append(error)

    def between(connection, cursor, statement, *_):
        if statement.startswith("SELECT assignments.patient") and not others:
            others.append(threading.Thread(target=split))
            others[0].start()
            others[0].join(0.5)

    with Ledger(url, SALT) as ledger:
        sa.event.listen(ledger._engine, "after_cursor_execute", between)
        ledger.assign("source", "c", "s", parts)
        others[0].join()
        assert errors == []
        assert ledger.assignments("source", "c", "s") == parts


def test_rows_that_another_run_wrote_are_no_damage(url):
    row = {"site": "s", "collection": "c", "scheme": "s", "patient": "p", "part": "train", "wave": 0}
    with Ledger(url, SALT) as ledger:
        ledger.assign("s", "c", "s", {"p": "train"})
        with (
            pytest.raises(LedgerError, match="another run wrote the same rows at the same time; nothing was"),
            transaction(ledger._engine) as connection,
        ):
            connection.execute(sa.insert(tables.assignments), [row])


def test_a_missing_driver_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install -e '\.\[postgres\]'"):
        Ledger("postgresql://u@h/d", SALT)


def old_ledger(url: str, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    engine = open_engine(url, 1)
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)
        now = datetime.datetime.now(datetime.UTC)
        run = {"site": "source", "collection": "c", "started": now, "ended": now}
        connection.execute(sa.insert(tables.runs), [run])
        row = observation(1)._asdict() | {"site": "source", "collection": "c", "first_seen": now, "run_id": 1}
        connection.execute(sa.insert(tables.recordings), [row])
    engine.dispose()


def test_a_ledger_of_an_older_version_is_brought_up_to_date(url):
    old_ledger(url, "0001")
    with Ledger(url, SALT) as ledger:
        assert states(ledger) == {observation(1).video: "ingested"}
        ledger.assign("source", "c", "s", {"p_1": "train"})
        assert ingest(ledger, [observation(1)]).unchanged == 1


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(url):
    Ledger(url, SALT)
    file = Path(url.removeprefix("sqlite:///"))
    with sqlite3.connect(file) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="of version 9999, this crossprobe knows 0003 and older; install"):
        Ledger(url, SALT)
    assert file.read_bytes() == before


def test_the_tables_are_those_that_the_steps_make(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = open_engine(url, 1)
    migrate(engine)
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_locked_database_is_said_after_a_while(url):
    with Ledger(url, SALT):
        pass
    holder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(LedgerError, match=r"is locked by another process .*database_wait_seconds"):
            Ledger(url, SALT, wait_seconds=0.1)
    finally:
        holder.close()


@pytest.mark.parametrize(
    "content", [b"this is no database, but long enough to be read as one" * 40, b"SQLite"]
)
def test_a_damaged_ledger_is_named(tmp_path, content):
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: the ledger is damaged or no ledger"):
        Ledger(sqlite_url(file), SALT)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url", "is no database URL"),
        ("mysql://u:secret@h/d", "SQLite or PostgreSQL"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "the ledger cannot be used"),
    ],
)
def test_an_address_that_leads_nowhere(url, message):
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger(url, SALT, wait_seconds=0.1)
    assert "secret" not in str(caught.value)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    settings = LedgerSettings(file=tmp_path / "file" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="file"):
        Ledger.open(settings, SALT)


def test_writers_at_the_same_time_queue_up(url):
    Ledger(url, SALT)
    errors = []

    def write(number: int) -> None:
        try:
            with Ledger(url, SALT) as ledger:
                for wave in range(5):
                    ledger.assign("source", "c", "s", {f"p_{number}_{wave}": "train"})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Ledger(url, SALT) as ledger:
        assert len(ledger.assignments("source", "c", "s")) == 20
