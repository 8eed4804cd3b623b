from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from crossprobe.data.file_hashes import HashCache
from crossprobe.data.fingerprint import file_hash
from crossprobe.data.settling import unsettled_files


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    """A file whose last change, by the clock, was a while ago."""
    file = tmp_path / "a.avi"
    file.write_bytes(b"clip")
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 60)
    return file


def second(first: HashCache) -> HashCache:
    return HashCache(str, dict(first.fresh))


def test_a_known_file_is_not_read_again(old):
    first = HashCache(str)
    assert first(old) == file_hash(old)
    again = second(first)
    assert again(old) == file_hash(old)
    assert (first.read, again.read) == (1, 0)


@pytest.mark.parametrize("change", ["content", "same size and time", "replaced", "renamed over"])
def test_any_change_is_noticed(old, change):
    first = HashCache(str)
    first(old)
    state = old.stat()
    if change == "content":
        old.write_bytes(b"longer clip")
    elif change == "same size and time":
        old.write_bytes(b"clap")
        os.utime(old, ns=(state.st_atime_ns, state.st_mtime_ns))
    else:
        other = old.with_name("b.avi")
        other.write_bytes(b"clop")
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        if change == "replaced":
            old.unlink()
            shutil.move(other, old)
        else:
            os.replace(other, old)
    again = second(first)
    assert again(old) == file_hash(old)
    assert again.read == 1


def test_a_file_written_a_moment_ago_or_in_the_future_is_not_remembered(tmp_path):
    file = tmp_path / "a.avi"
    file.write_bytes(b"clip")
    cache = HashCache(str)
    cache(file)
    assert cache.fresh == {}
    os.utime(file, (time.time() + 1e6,) * 2)
    cache(file)
    assert cache.fresh == {}


def test_a_growing_file_is_left_and_a_still_one_is_not(tmp_path):
    growing, still, old = (tmp_path / name for name in ("growing", "still", "old"))
    for file in (growing, still, old):
        file.write_bytes(b"clip")
    os.utime(old, (1, 1))

    def wait(seconds: float) -> None:
        assert seconds == 3
        with open(growing, "ab") as stream:
            stream.write(b"more")

    assert unsettled_files([growing, still, old], 3, wait=wait) == {growing}


def test_old_files_are_not_waited_for_and_missing_ones_are_left_to_the_reader(tmp_path):
    old = tmp_path / "old"
    old.touch()
    os.utime(old, (1, 1))

    def never(seconds: float) -> None:
        raise AssertionError("waited")

    assert unsettled_files([old, tmp_path / "missing"], 3, wait=never) == set()


def test_a_clock_that_was_set_back_costs_a_second_look_and_no_more(tmp_path):
    file = tmp_path / "a"
    file.touch()
    looks = []
    assert unsettled_files([file], 3, now=lambda: 0.0, wait=looks.append) == set()
    assert looks == [3]
    assert unsettled_files([file], 3, now=lambda: 0.0, wait=lambda seconds: file.write_bytes(b"x")) == {file}
