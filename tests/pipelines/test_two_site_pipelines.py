"""What a site runs names nothing of the other site, and together they run the whole study."""

from __future__ import annotations

import pytest

from crossprobe.pipelines import cross_domain, source_site, target_site, target_site_evaluate

HALVES = [(target_site, "source."), (source_site, "target."), (target_site_evaluate, "source.")]


@pytest.mark.parametrize(("half", "foreign"), HALVES, ids=["target", "source", "target again"])
def test_no_data_set_or_parameter_of_the_other_site_is_named(half, foreign):
    names = half.create_pipeline().datasets()
    assert not [name for name in names if name.removeprefix("params:").startswith(foreign)]


def test_every_arm_is_trained_and_scored_somewhere():
    stages = ("pretrain.", "finetune.", "evaluate.")
    wanted = {node.name for node in cross_domain.create_pipeline().nodes if node.name.startswith(stages)}
    done = {node.name for half, _ in HALVES for node in half.create_pipeline().nodes}
    # The reference learned from target labels, so its weights and its score on the source stay out of it.
    assert wanted - done == {"evaluate.target_supervised.score_source"}
