"""Runs the project as a package: `python -m crossprobe run …` is `kedro run …`."""

from __future__ import annotations

from crossprobe.command_line.group import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
