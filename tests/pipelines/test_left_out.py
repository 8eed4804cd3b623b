"""An arm that lacks target labels is left out with a reason; one that lacks source labels stops the run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from crossprobe.errors import InvalidMetadata
from crossprobe.evaluation.segmentation import no_scores
from crossprobe.fusion.temperature import TemperatureSettings
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.arms import FinetuningArm
from crossprobe.pipelines.finetuning import nodes
from crossprobe.pipelines.fusion.nodes import score_fused
from crossprobe.pipelines.source_site.nodes import mean_scores

PARTS = {"parts": {"train": ["a"], "val": ["b"], "selection": ["b"], "test": ["c"]}}
STAGE = SimpleNamespace(training=None)


def frames(*labelled: str) -> SimpleNamespace:
    """A store that knows which patients have labels, and nothing else."""

    def rows(patients, labelled_only=None, *, labelled=None):
        return np.arange(sum(patient in known for patient in patients))

    known = labelled
    return SimpleNamespace(rows=rows)


def finetuned(site: str, *labelled: str):
    arm = FinetuningArm(start="random", site=site)
    return nodes._finetune(None, {}, frames(*labelled), PARTS, arm, STAGE, None, None, None, "it")


@pytest.mark.parametrize(
    ("labelled", "lacking"), [("", "train and selection"), ("a", "selection"), ("b", "train")]
)
def test_a_target_with_too_few_labels_leaves_the_reference_out(caplog, labelled, lacking):
    checkpoint, history = finetuned("target", *labelled)
    reason = f"no labelled frame of site 'target' in {lacking}"
    assert checkpoint.left_out
    assert checkpoint.config["reason"] == reason
    assert caplog.messages == [f"finetune.it is left out: {reason}"]
    assert list(history.columns) == ["step", "part", "metric", "value"]
    assert history.empty
    arm = FinetuningArm(start="random", site="target")
    assert nodes.calibrate(checkpoint, frames(), PARTS, arm, TemperatureSettings(), None) == {}


def test_a_source_without_labels_stops_the_run():
    with pytest.raises(
        InvalidMetadata, match=r"finetune\.it: no labelled frame of site 'source' in val; label"
    ):
        finetuned("source", "a")


def test_what_is_fused_from_an_arm_left_out_has_no_scores():
    branches = (Checkpoint.without_weights("no labels"), {}, Checkpoint.without_weights("no labels"), {})
    table = score_fused.__wrapped__(None, PARTS, None, None, None, None, *branches, arm_name="fused")
    assert table.empty
    assert {"arm", "site", "metric", "value"} <= set(table.columns)


def test_the_targets_half_hands_over_no_figure_where_nothing_was_scored():
    assert mean_scores([no_scores(), no_scores()]) == []
