"""What decides about a model, read off the graph, and what a study may register."""

from __future__ import annotations

import pytest

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines import arms, register


def test_nothing_that_decides_has_seen_a_label_of_the_target():
    pipeline = register.create_pipeline("cross_domain")
    read = {name for node in pipeline.nodes for name in node.inputs}
    assert "target.frames" in read
    assert not {name for name in read if name.startswith("target.labelled") or name.endswith("_scores")}
    # The table of arms holds scores of target test patients: it goes into the card, and no further.
    readers = [node.short_name for node in pipeline.nodes if "report.cross_domain.arms" in node.inputs]
    assert readers == ["log_model"]
    decide = next(node for node in pipeline.nodes if node.short_name == "decide")
    assert {name.rsplit(".", 1)[-1] for name in decide.inputs} == {
        "package", "logged", "reload", "source_evidence", "target_evidence", "latency",
        "params:registration",
    }  # fmt: skip


def test_a_study_without_a_registered_arm_registers_nothing():
    assert register.create_pipeline("ablations").nodes == []


def test_a_registered_arm_that_is_not_there(monkeypatch):
    table = {"finetuning": {"a": {"start": "random"}}, "registered": "b"}
    monkeypatch.setattr(arms, "_studies", lambda: {"study": table})
    arms.read_arms.cache_clear()
    with pytest.raises(InvalidMetadata, match=r"studies\.study\.registered is 'b', expected one of a"):
        arms.read_arms("study")
    arms.read_arms.cache_clear()
