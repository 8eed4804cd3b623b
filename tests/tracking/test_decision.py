"""What the gate found is carried out; a run that dies on the way leaves nothing that cannot be made good."""

from __future__ import annotations

import pytest
from mlflow.tracking import MlflowClient

from crossprobe.evaluation.promotion_gate import Check
from crossprobe.tracking import decision
from crossprobe.tracking.decision import COMPARED, GATE, PASSED, REFUSED, act
from crossprobe.tracking.registry import CHALLENGER, CHAMPION, FINGERPRINT, PACKAGE_HASH, Registry
from crossprobe.tracking.stage import StageRun

GOOD, BAD = [Check("level", True, "0.9")], [Check("level", False, "0.1")]


class Killed(BaseException):
    """Ends a run wherever it is."""


@pytest.fixture
def registry(uri):
    return Registry(uri, "crossprobe-test")


@pytest.fixture
def judged(uri, registry, tmp_path, monkeypatch):
    """Gives what a run of `register` does with a model: it looks up the champion, then decides."""
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.create_experiment("test", artifact_location=(tmp_path / "artifacts").as_uri())
    monkeypatch.setattr(
        decision, "_tags", lambda package, logged, reload, run: {FINGERPRINT: package, PACKAGE_HASH: "0" * 64}
    )

    def judge(name, checks, champion="now"):
        parent, run = (client.create_run(experiment).info.run_id for _ in range(2))
        compared = registry.champion() if champion == "now" else champion
        logged = {"model_uri": f"/models/{name}", "champion": compared}
        return act(name, logged, {}, checks, registry.name, StageRun(uri, parent, run))

    return judge


def aliases(registry):
    return {alias: row.version for row in registry.rows() for alias in row.aliases}


@pytest.mark.parametrize("step", ["annotate", "promote"])
def test_a_run_killed_before_it_judged_or_promoted_is_made_good(judged, registry, monkeypatch, step):
    judged("a", GOOD)

    def die(*_args, **_named):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Registry, step, die)
        with pytest.raises(Killed):
            judged("b", GOOD)
    assert aliases(registry) == {CHAMPION: 1, CHALLENGER: 2}
    again = judged("b", GOOD)
    assert (again["version"], again["new"], again["champion"]) == (2, False, 2)
    assert aliases(registry) == {CHAMPION: 2}
    assert registry.tags(2)[GATE] == PASSED


def test_a_version_without_its_alias_gets_it_on_the_next_run(judged, registry):
    registry.register("/models/a", "", {FINGERPRINT: "a", PACKAGE_HASH: "0" * 64})
    registry.client.delete_registered_model_alias(registry.name, CHALLENGER)
    judged("a", BAD)
    assert aliases(registry) == {CHALLENGER: 1}


def test_judging_again_compares_with_the_champion_of_today(judged, registry):
    judged("a", GOOD)
    late = judged("b", GOOD, champion=None)
    assert "run the pipeline `register` again" in late["summary"]
    assert registry.tags(2)[COMPARED] == ""
    assert judged("b", GOOD)["champion"] == 2
    assert (registry.tags(2)[COMPARED], registry.tags(2)[GATE]) == ("1", PASSED)


def test_a_verdict_written_half_way_counts_as_refused(judged, registry, monkeypatch):
    judged("a", GOOD)
    whole, written = Registry.annotate, []

    def half(self, version, tags):
        if written:
            raise Killed
        written.append(tags)
        whole(self, version, tags)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "annotate", half)
        with pytest.raises(Killed):
            judged("b", GOOD)
    assert registry.tags(2)[GATE] == REFUSED


def test_the_champion_is_not_compared_with_itself(judged, registry):
    judged("a", GOOD)
    assert "is the champion already; nothing was changed" in judged("a", BAD)["summary"]
    assert (registry.tags(1)[GATE], registry.champion()) == (PASSED, 1)


def test_a_withdrawn_version_does_not_come_back_by_itself(judged, registry):
    for name in "ab":
        judged(name, GOOD)
    registry.rollback("misses the distal end")
    told = judged("b", GOOD)
    assert "withdrawn (misses the distal end)" in told["summary"]
    assert "crossprobe promote 2" in told["summary"]
    assert aliases(registry) == {CHAMPION: 1}
