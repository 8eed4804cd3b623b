"""timm can be imported whatever build of torchvision stands beside torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

import crossprobe
from crossprobe.models._torchvision_ops import declare_missing_operators


def test_declaring_twice_is_harmless_and_gives_torchvision_what_it_asks_for():
    assert declare_missing_operators() == declare_missing_operators()
    assert hasattr(torch.ops.torchvision, "nms")


def test_timm_is_imported_by_one_module_alone():
    package = Path(crossprobe.__file__).parent
    importers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            line.strip().startswith(("import timm", "from timm")) for line in path.read_text().splitlines()
        )
    }
    assert importers == {"models/timm_models.py"}


def test_settings_of_the_model_load_without_torch():
    code = "import sys, crossprobe.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
