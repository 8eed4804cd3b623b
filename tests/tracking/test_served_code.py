"""A served model carries all of the library that it needs, and little else."""

from __future__ import annotations

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.tracking.model_log import SERVED, pinned_requirements
from crossprobe.tracking.served_code import PACKAGE, needed_files
from small_model import small_classifier, small_package


def test_what_is_copied_is_a_part():
    files = {file.relative_to(PACKAGE).as_posix() for file in needed_files(SERVED)}
    assert {"prediction/package.py", "models/transunet.py", "__init__.py", "data/__init__.py"} <= files
    assert not {file for file in files if file.startswith(("pipelines", "tracking", "phantom", "reporting"))}
    assert len(files) < 60


def named(index) -> set[str]:
    return {line.split("==")[0] for line in pinned_requirements(index)}


def test_a_step_of_preprocessing_brings_its_library():
    frames = FrameSettings(preprocessing=[{"step": "total_variation"}])
    plain = small_package().index
    assert named(plain.model_copy(update={"frames": frames})) - named(plain) == {"scikit-image"}


def test_a_classifier_brings_the_library_of_its_backbones():
    assert named(small_classifier().index) - named(small_package().index) == {"timm", "torchvision"}
