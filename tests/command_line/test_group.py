"""Help is quick, errors are a line, and commands find the project from inside it only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from crossprobe.command_line.group import COMMANDS, crossprobe, main
from crossprobe.command_line.project import project_folder
from crossprobe.errors import CrossprobeError

PROJECT = Path(__file__).resolve().parents[2]


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom crossprobe.command_line.group import main\n"
        "try: main('--help')\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'mlflow', 'kedro', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_every_command_has_its_own_help(name):
    result = CliRunner().invoke(crossprobe, [name, "--help"])
    assert result.exit_code == 0
    assert "--env" in result.output


def test_an_unknown_command():
    assert "No such command 'modles'" in CliRunner().invoke(crossprobe, ["modles"]).output


def test_the_project_is_found_from_below_and_not_from_outside(monkeypatch, tmp_path):
    monkeypatch.chdir(PROJECT / "docs" / "how-to")
    assert project_folder() == PROJECT
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CrossprobeError, match="in no crossprobe project"):
        project_folder()


def test_an_error_is_one_line_without_a_traceback(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main("models")
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
