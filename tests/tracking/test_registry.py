"""Versions, aliases and the way back; two writers at once leave one champion."""

from __future__ import annotations

import fcntl
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from crossprobe.errors import RegistryError
from crossprobe.tracking.decision import COMPARED, GATE, PASSED, REFUSED
from crossprobe.tracking.promotion import promote_by_hand
from crossprobe.tracking.registry import CHALLENGER, CHAMPION, FINGERPRINT, PACKAGE_HASH, Registry
from crossprobe.tracking.registry_lock import registry_lock, sqlite_file


def tags(fingerprint: str, **more: str) -> dict[str, str]:
    return {FINGERPRINT: fingerprint, PACKAGE_HASH: "0" * 64, **more}


@pytest.fixture
def registry(uri):
    return Registry(uri, "crossprobe-test")


def add(registry, name, **more):
    return registry.register(f"/models/{name}", "", tags(name, **more))[0]


def aliases(registry):
    return {alias: row.version for row in registry.rows() for alias in row.aliases}


def test_a_new_version_is_the_challenger(registry):
    assert registry.register("/models/a", "", tags("a")) == (1, True)
    assert aliases(registry) == {CHALLENGER: 1}
    assert registry.champion() is None


def test_the_same_model_is_registered_once(registry):
    add(registry, "a")
    add(registry, "b")
    assert registry.register("/models/elsewhere", "", tags("a")) == (1, False)
    assert len(registry.rows()) == 2
    assert aliases(registry) == {CHALLENGER: 2}


def test_promotion_and_the_way_back(registry):
    for name in "abc":
        version = add(registry, name)
        assert registry.promote(version, "good", instead_of=registry.champion())
    assert aliases(registry) == {CHAMPION: 3}
    assert registry.rollback("bad on Tuesday") == (3, 2)
    assert registry.rollback("worse") == (2, 1)
    assert aliases(registry) == {CHAMPION: 1}
    with pytest.raises(RegistryError, match="version 1 is the first champion"):
        registry.rollback("again")
    withdrawn = {row.version: row.tags.get("withdrawn") for row in registry.rows()}
    assert withdrawn == {1: "", 2: "worse", 3: "bad on Tuesday"}


def test_a_withdrawn_version_can_come_back(registry):
    for name in "ab":
        registry.promote(add(registry, name), "good", instead_of=registry.champion())
    registry.rollback("by mistake")
    assert registry.promote(2, "it was right", instead_of=1)
    assert registry.rollback("no, it was not") == (2, 1)


def test_a_champion_that_changed_meanwhile_is_not_replaced(registry):
    for name in "abc":
        add(registry, name)
    assert registry.promote(2, "first", instead_of=None)
    assert not registry.promote(3, "late", instead_of=None)
    assert registry.champion() == 2


class Killed(BaseException):
    """Ends a process between two of its steps."""


MOVES = ("set_registered_model_tag", "set_registered_model_alias", "set_model_version_tag")


def killed_at(registry, monkeypatch, step, skipped, move):
    """Makes a move and dies instead of taking the n-th step of one kind."""
    whole, taken = getattr(registry.client, step), []

    def die(*args):
        if len(taken) == skipped:
            raise Killed
        taken.append(args)
        whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(registry.client, step, die)
        with pytest.raises(Killed):
            move()


@pytest.mark.parametrize("step", MOVES)
def test_a_rollback_that_was_killed_can_be_repeated(registry, monkeypatch, step):
    for name in "abc":
        registry.promote(add(registry, name), "good", instead_of=registry.champion())
    killed_at(registry, monkeypatch, step, 0, lambda: registry.rollback("bad"))
    moved = registry.champion() == 2
    assert moved == (step == "set_model_version_tag")
    # What the alias says is what has happened: a move that reached it is ended, any other is forgotten.
    assert registry.rollback("bad") == ((2, 1) if moved else (3, 2))
    withdrawn = {row.version for row in registry.rows() if row.tags.get("withdrawn")}
    assert withdrawn == ({2, 3} if moved else {3})


@pytest.mark.parametrize(("step", "skipped"), [*((step, 0) for step in MOVES), (MOVES[-1], 2)])
def test_a_promotion_that_was_killed_can_be_repeated(registry, monkeypatch, step, skipped):
    for name in "ab":
        registry.promote(add(registry, name), "good", instead_of=registry.champion())
    version = add(registry, "c")
    killed_at(registry, monkeypatch, step, skipped, lambda: registry.promote(version, "better", instead_of=2))
    assert (registry.champion() == version) == (step == "set_model_version_tag")
    assert registry.promote(version, "better", instead_of=2)
    assert aliases(registry) == {CHAMPION: version}
    assert registry.rows()[0].tags["champion_reason"] == "better"
    assert registry.rollback("bad") == (3, 2)


def test_an_old_rollback_that_died_before_the_alias_moved_blocks_nothing(registry):
    for name in "ab":
        registry.promote(add(registry, name), "good", instead_of=registry.champion())
    registry.annotate(2, {"crossprobe.withdrawn": "bad"})
    assert registry.rollback("bad") == (2, 1)


@pytest.mark.parametrize("reason", ["", " "])
def test_a_rollback_without_a_reason_changes_nothing(registry, reason):
    for name in "ab":
        registry.promote(add(registry, name), "good", instead_of=registry.champion())
    with pytest.raises(RegistryError, match="needs a reason"):
        registry.rollback(reason)
    assert registry.champion() == 2


@pytest.mark.parametrize("call", ["rows", "rollback", "tags"])
def test_a_name_that_is_not_there_says_which_are(uri, registry, call):
    add(registry, "a")
    other = Registry(uri, "crossprobe-tset")
    given = {"rows": (), "rollback": ("r",), "tags": (1,)}[call]
    with pytest.raises(RegistryError, match="registered are crossprobe-test"):
        getattr(other, call)(*given)


def test_a_version_that_is_not_there(registry):
    add(registry, "a")
    with pytest.raises(RegistryError, match="no version 7; it has 1"):
        registry.promote(7, "r", instead_of=None)


def test_promotion_by_hand_needs_the_gate_or_a_reason(registry):
    add(registry, "a", **{GATE: PASSED, COMPARED: ""})
    add(registry, "b", **{GATE: REFUSED, COMPARED: "1"})
    assert "version 1 is champion" in promote_by_hand(registry, 1, None)
    assert "already" in promote_by_hand(registry, 1, None)
    with pytest.raises(RegistryError, match="did not pass the gate"):
        promote_by_hand(registry, 2, None)
    with pytest.raises(RegistryError, match="needs a reason"):
        promote_by_hand(registry, 2, " ")
    assert "instead of version 1" in promote_by_hand(registry, 2, "seen on 40 clips")
    assert (
        next(row for row in registry.rows() if row.version == 2).tags["champion_reason"].endswith("40 clips")
    )


def test_the_gate_counts_against_the_champion_of_today_only(registry):
    add(registry, "a", **{GATE: PASSED, COMPARED: ""})
    add(registry, "b", **{GATE: PASSED, COMPARED: ""})
    promote_by_hand(registry, 1, None)
    with pytest.raises(RegistryError, match="compared with no champion, but champion is 1 now"):
        promote_by_hand(registry, 2, None)


def run_to_the_end(uri: str, name: str) -> tuple[int, bool]:
    """What a run does: it saw no champion when it started, registers, and promotes."""
    registry = Registry(uri, "crossprobe-test")
    version, new = registry.register(f"/models/{name}", "", tags(name))
    assert new
    return version, registry.promote(version, f"run {name}", instead_of=None)


@pytest.mark.slow
def test_two_runs_at_once_leave_one_champion(uri):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(run_to_the_end, [uri] * 4, "abcd"))
    registry = Registry(uri, "crossprobe-test")
    assert sorted(version for version, _ in results) == [1, 2, 3, 4]
    winners = [version for version, won in results if won]
    assert len(winners) == 1
    found = aliases(registry)
    assert found[CHAMPION] == winners[0]
    assert [row.version for row in registry.rows() if row.tags.get("champion_order")] == winners
    assert found.get(CHALLENGER) != winners[0]


def test_the_lock_is_waited_for_and_then_given_up(uri):
    path = sqlite_file(uri).with_name("mlflow.db.registry-lock")
    with open(path, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(RegistryError, match="another process has held the registry"),
            registry_lock(uri, 0.2),
        ):
            pass
    with registry_lock(uri, 0.2):
        pass


def test_a_server_has_no_lock_file():
    assert sqlite_file("https://tracking.example.org") is None
    with registry_lock("https://tracking.example.org"):
        pass
