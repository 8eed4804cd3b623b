"""Rules of the house that a test can hold: what the library may import, and how it writes to disk."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "crossprobe"
KEDRO_ONLY = (
    "pipelines",
    "datasets",
    "settings.py",
    "orchestration",
    "hooks.py",
    "tracking",
    "command_line",
    "pipeline_registry.py",
    "__main__.py",
)
LIBRARY = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in KEDRO_ONLY]
ROOMS = ["reporting", "evaluation", "fusion", "models"]


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_library_imports_neither_kedro_nor_mlflow(file):
    roots = {name.split(".")[0] for name in imported(file)}
    assert not roots & {"kedro", "kedro_datasets", "kedro_mlflow", "mlflow"}
    assert not any(
        name.startswith(tuple(f"crossprobe.{room.removesuffix('.py')}" for room in KEDRO_ONLY))
        for name in imported(file)
    )


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_arrows_run_one_way(file):
    room = file.relative_to(PACKAGE).parts[0]
    later = set(ROOMS[: ROOMS.index(room)]) if room in ROOMS else set()
    found = {name.split(".")[1] for name in imported(file) if name.startswith("crossprobe.") and "." in name}
    assert not found & later


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_is_unpickled(file):
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
    ]
    assert not [call for call in calls if call.startswith("pickle.") or call == "joblib.load"]


def test_files_are_short():
    too_long = {str(file): count for file in PACKAGE.rglob("*.py")
                if (count := len(file.read_text(encoding="utf-8").splitlines())) > 500}  # fmt: skip
    assert too_long == {}


def test_settings_load_without_torch():
    names = ("data.manifest", "data.fingerprint", "phantom.settings", "training.settings")
    modules = ", ".join(f"crossprobe.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pipelines_are_registered_without_what_takes_seconds_to_import():
    files = sorted((PACKAGE / "pipelines").rglob("pipeline.py"))
    modules = ", ".join(
        ".".join(("crossprobe", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files
    )
    slow = {"timm", "torchvision", "scipy.stats", "statsmodels", "monai"}
    code = f"import sys, crossprobe.hooks, {modules}; print(*({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert len(files) > 10
    assert done.stdout.split() == []
