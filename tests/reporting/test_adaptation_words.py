"""The sentences about adversarial training say what the tables say, and judge the zero-shift control."""

from __future__ import annotations

import pandas as pd
import pytest

from crossprobe.adaptation.dann import DannSettings
from crossprobe.evaluation.adaptation_table import adaptation_table
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.classification.nodes import sites_are_alike
from crossprobe.reporting.adaptation_words import adaptation_sentences

# Domain accuracy rises while the discriminator learns, and falls again; the source's stays.
COURSE = {20: (0.55, 0.6), 40: (0.97, 0.8), 60: (0.7, 0.82), 80: (0.52, 0.81)}


@pytest.fixture
def adaptation() -> pd.DataFrame:
    figures = [
        (step, "validation", name, value)
        for step, (domain, source) in COURSE.items()
        for name, value in {
            "domain_accuracy": domain, "accuracy": source, "domain_loss": 0.7, "cross_entropy": 0.5,
            "target_share_a": 0.4, "target_share_b": 0.6,
        }.items()
    ]  # fmt: skip
    history = pd.DataFrame(figures, columns=["step", "part", "metric", "value"])
    checkpoint = Checkpoint({}, {"model": {"classes": ["a", "b"]}}, {"best_step": 60})
    return adaptation_table({"dann": (checkpoint, history)}, DannSettings())


def arms(difference: float, low: float, high: float, patients: int = 30) -> pd.DataFrame:
    row = {"arm": "dann", "site": "target", "metric": "balanced_accuracy", "value": 0.7}
    row |= {"n_patients": patients, "baseline_difference": difference}
    return pd.DataFrame([row | {"baseline_low": low, "baseline_high": high}])


def test_the_course_is_read_at_its_start_its_highest_and_its_end(adaptation):
    assert adaptation["step"].tolist() == [20, 40, 60, 80]
    assert adaptation["warnings"].tolist() == [""] * 4  # .97 on the way is no collapse
    course, outcome = adaptation_sentences(adaptation, arms(0.1, 0.02, 0.2), "source_only", False)
    assert "is 0.550 at the start (step 20), 0.970 at its highest (step 40) and 0.520 at the end" in course
    assert "same steps: 0.600, 0.800, 0.810." in course
    assert "+0.100 [+0.020," in outcome
    assert outcome.endswith("balanced accuracy (30 patients); the interval lies above 0.")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.05, 0.04, "the adaptation does not hurt. "),
        (0.01, 0.04, "the adaptation does not hurt. "),
        (-0.2, -0.1, "the adaptation hurts. "),
        (float("nan"), float("nan"), "nothing can be said. "),
    ],
)
def test_the_control_says_whether_it_hurts(adaptation, low, high, words):
    _, outcome = adaptation_sentences(adaptation, arms((low + high) / 2, low, high), "source_only", True)
    assert outcome.startswith(f"Zero-shift control, the two sites do not differ: {words}")


def test_without_a_baseline_only_the_course_is_told(adaptation):
    assert len(adaptation_sentences(adaptation, arms(0, 0, 0), None, False)) == 1


PHANTOM = {"kind": "phantom", "folder": "one", "device": None, "half": "all"}
SCANNER = {"kind": "busbra", "folder": "b", "device": "GE Logiq 7", "half": "first"}


@pytest.mark.parametrize(
    ("source", "target", "severity", "alike"),
    [
        (PHANTOM, {**PHANTOM, "folder": "other"}, 0.0, True),
        (PHANTOM, {**PHANTOM, "folder": "other"}, 0.2, False),
        (SCANNER, {**SCANNER, "half": "second"}, 1.0, True),
        (SCANNER, {**SCANNER, "half": "second", "device": "GE Logiq 5"}, 1.0, False),
        (SCANNER, {**SCANNER, "half": "all"}, 0.0, False),
        (PHANTOM, SCANNER, 0.0, False),
    ],
)
def test_which_runs_are_the_control(source, target, severity, alike):
    parameters = {"source": {"raw": source}, "target": {"raw": target}, "phantom": {"severity": severity}}
    assert sites_are_alike(parameters) is alike
