"""The ablations run through the same stages, reuse arms of the main job, and end in the paper's tables."""

from __future__ import annotations

from crossprobe.pipelines.arms import read_arms


def test_ablations_end_in_their_tables(kedro_run, finished_run, trainings):
    before = trainings()
    kedro_run("ablations")
    after = trainings()
    study = read_arms("ablations")
    assert {name: after[name] for name in before} == before
    trained = {name.rpartition("-")[0] for name in after}
    arms = {f"pretrain.{name}" for name in study.pretraining} | {
        f"finetune.{name}" for name in study.finetuning
    }
    # No two frames of the tiny videos are further apart: both gaps give one encoder, fine-tuned once.
    assert trained == arms - {"finetune.gap_longest"}
    page = (finished_run / "08_reporting/ablations/report.html").read_text(encoding="utf-8")
    for words in (
        "Temperature at frame gap 0",
        "Frame gap at temperature 0.5",
        "Which branches are fused",
        "Controls",
    ):
        assert words in page
