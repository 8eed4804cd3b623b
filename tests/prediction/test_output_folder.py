"""Results are whole or not there, whatever killed the process; two processes do not write to one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.output_folder import only_writer, partial_path, put_in_place


def made(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "mask").write_text(content)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


KILLED = """
import os, signal, sys
from pathlib import Path
from crossprobe.prediction.output_folder import only_writer, partial_path, put_in_place
folder = Path(sys.argv[1])
with only_writer(folder):
    partial_path(folder, "rows").write_text("x")
    partial = partial_path(folder, "v_1")
    partial.mkdir()
    rename = Path.rename
    # Killed between the two renames.
    Path.rename = lambda self, to: (rename(self, to), os.kill(os.getpid(), signal.SIGKILL))
    put_in_place(partial, folder / "v_1")
"""


def test_what_a_killed_process_left_is_cleared_and_the_older_result_comes_back(tmp_path):
    made(tmp_path / "v_1", "older")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) != {"v_1"}
    with only_writer(tmp_path):
        assert names(tmp_path) == {"v_1"}
        assert (tmp_path / "v_1" / "mask").read_text() == "older"


def test_an_older_result_that_was_replaced_is_cleared(tmp_path):
    made(tmp_path / "v_1", "newer")
    made(tmp_path / ".partial-123-v_1-old", "older")
    (tmp_path / ".partial-123-away").symlink_to(made(tmp_path / "elsewhere", "x"))
    with only_writer(tmp_path):
        assert names(tmp_path) == {"v_1", "elsewhere"}
    assert (tmp_path / "v_1" / "mask").read_text() == "newer"
    assert (tmp_path / "elsewhere" / "mask").exists()


def test_the_older_result_stays_where_the_newer_cannot_take_its_place(tmp_path, monkeypatch):
    made(tmp_path / "v_1", "older")
    partial = made(partial_path(tmp_path, "v_1"), "newer")
    rename = Path.rename

    def failing(self, target):
        if self == partial:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        put_in_place(partial, tmp_path / "v_1")
    assert (tmp_path / "v_1" / "mask").read_text() == "older"


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    with (
        only_writer(tmp_path / "out"),
        pytest.raises(CrossprobeError, match="another prediction writes to"),
        only_writer(tmp_path / "out"),
    ):
        pass
    with only_writer(tmp_path / "out"):
        pass


def test_a_drive_that_locks_no_folder_is_written_to_all_the_same(tmp_path, monkeypatch, caplog):
    def refuse(*given):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr("crossprobe.prediction.output_folder.fcntl.flock", refuse)
    made(tmp_path / ".partial-123-v_1", "may be another process's")
    with only_writer(tmp_path):
        assert names(tmp_path) == {".partial-123-v_1"}
    assert "leftovers are not cleared" in caplog.text
