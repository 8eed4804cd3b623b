"""What is scored is computed in single precision, wherever it is computed."""

from __future__ import annotations

from crossprobe.pipelines.model import for_scoring
from crossprobe.training import runtime
from crossprobe.training.settings import RuntimeSettings


def test_scores_are_in_single_precision(monkeypatch):
    given = RuntimeSettings(precision="bf16", threads=2, channels_last=False)
    scoring = for_scoring(given)
    assert (scoring.precision, scoring.tf32) == ("fp32", False)
    assert scoring.model_copy(update={"precision": "bf16", "tf32": True}) == given


def test_products_on_a_gpu_are_not_rounded_for_scores(monkeypatch):
    allowed = []
    monkeypatch.setattr(runtime.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "_allow_tf32", allowed.append)
    monkeypatch.setattr(runtime, "_has_fast_bf16", lambda device: True)
    for settings in (RuntimeSettings(), for_scoring(RuntimeSettings())):
        runtime.resolve(settings)
    assert allowed == [True, False]
