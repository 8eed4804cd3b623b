"""Carries out what the gate found: a version, its aliases, and the reasons where people look for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from crossprobe.evaluation.promotion_gate import Check
from crossprobe.prediction.package import Package, index_hash
from crossprobe.tracking.registry import FINGERPRINT, PACKAGE_HASH, PREFIX, Registry
from crossprobe.tracking.stage import StageRun

GATE, COMPARED, REASONS = PREFIX + "gate", PREFIX + "compared_with", PREFIX + "gate_reasons"
PASSED, REFUSED = "passed", "refused"


def act(
    package: Package, logged: dict[str, Any], checks: Sequence[Check], name: str, run: StageRun
) -> dict[str, Any]:
    """Registers the version and promotes it if every check holds.

    Args:
        package: The model.
        logged: `model_uri`, and the `champion` it was compared with.
        checks: What the gate found.
        name: Name of the registered model.
        run: Where the decision is logged.

    Returns:
        The decision as plain data: version, aliases now, checks, and a `summary` for people.
    """
    registry = Registry(run.uri, name)
    version, new = registry.register(logged["model_uri"], run.parent, _tags(package, logged, run))
    passed = all(check.passed for check in checks)
    reasons = [f"{'holds' if check.passed else 'FAILS'}: {check.name}: {check.finding}" for check in checks]
    champion = logged["champion"]
    if new:
        registry.annotate(
            version,
            {
                GATE: PASSED if passed else REFUSED,
                COMPARED: "" if champion is None else str(champion),
                REASONS: "\n".join(reasons),
            },
        )
    outcome = _outcome(registry, version, new, passed, champion)
    decision = {
        "model": name,
        "version": version,
        "new": new,
        "passed": passed,
        "compared_with": champion,
        "champion": registry.champion(),
        "checks": [check._asdict() for check in checks],
        "summary": f"{name} version {version}: {outcome}",
    }
    registry.client.log_text(run.run, json.dumps(decision, indent=2), f"decisions/{name}-{version}.json")
    for check in checks:
        registry.client.set_tag(run.parent, f"gate.{check.name}", f"{check.passed}: {check.finding}"[:5000])
    registry.client.set_tag(run.parent, "gate", decision["summary"])
    return decision


def _outcome(registry: Registry, version: int, new: bool, passed: bool, champion: int | None) -> str:
    if not new:
        return "this very model is registered already; nothing was changed"
    if not passed:
        return "challenger; a check of the gate fails (see `crossprobe models`), the champion stays"
    if registry.promote(version, "passed the gate", instead_of=champion):
        return "champion"
    return (
        f"challenger; it was compared with {champion or 'no champion'}, but version {registry.champion()} "
        "became champion meanwhile: run the pipeline `register` again to compare with that one"
    )


def _tags(package: Package, logged: dict[str, Any], run: StageRun) -> dict[str, str]:
    index = package.index
    assert package.folder is not None
    tags = {
        FINGERPRINT: index.fingerprint(),
        PACKAGE_HASH: index_hash(package.folder),
        PREFIX + "study": str(index.provenance.get("study", "")),
        PREFIX + "arm": index.arm,
        PREFIX + "run": run.parent,
    }
    tags |= {f"{PREFIX}score.{name}": text for name, text in logged.get("scores", {}).items()}
    for site, facts in index.provenance["sites"].items():
        tags[f"{PREFIX}data.{site}"] = facts["frame_store"]
        tags[f"{PREFIX}split.{site}"] = facts["split_hash"]
    return tags
