"""Carries out what the gate found: a version, its aliases, and the reasons where people look for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from crossprobe.evaluation.promotion_gate import Check
from crossprobe.prediction.package import Package, index_hash
from crossprobe.tracking.registry import FINGERPRINT, ORDER, PACKAGE_HASH, PREFIX, WITHDRAWN, Registry
from crossprobe.tracking.stage import StageRun

RELOADED = PREFIX + "reloaded"
GATE, COMPARED, REASONS = PREFIX + "gate", PREFIX + "compared_with", PREFIX + "gate_reasons"
PASSED, REFUSED = "passed", "refused"


def act(
    package: Package,
    logged: dict[str, Any],
    reload: dict[str, Any],
    checks: Sequence[Check],
    name: str,
    run: StageRun,
) -> dict[str, Any]:
    """Registers the version and promotes it if every check holds.

    A version that is there already is judged again, for the champion may be another one by now, or the run
    that made it died before it was judged. One that was champion once stays where it is: a person took it
    out of use, or another model took its place.

    Args:
        package: The model.
        logged: `model_uri`, and the `champion` it was compared with; none if it is the champion itself.
        reload: What was found when it was loaded in a fresh process; kept with the version.
        checks: What the gate found.
        name: Name of the registered model.
        run: Where the decision is logged.

    Returns:
        The decision as plain data: version, aliases now, checks, and a `summary` for people.
    """
    registry = Registry(run.uri, name)
    version, new = registry.register(logged["model_uri"], run.parent, _tags(package, logged, reload, run))
    passed = all(check.passed for check in checks)
    champion = logged["champion"]
    if registry.champion() != version:
        _write_down(registry, version, checks, champion)
    outcome = _outcome(registry, version, passed, champion)
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


def _write_down(registry: Registry, version: int, checks: Sequence[Check], champion: int | None) -> None:
    """Tags the version with what the gate found; should this die half-way, the version counts as refused."""
    reasons = [f"{'holds' if check.passed else 'FAILS'}: {check.name}: {check.finding}" for check in checks]
    compared = "" if champion is None else str(champion)
    registry.annotate(version, {GATE: REFUSED, COMPARED: compared, REASONS: "\n".join(reasons)})
    if all(check.passed for check in checks):
        registry.annotate(version, {GATE: PASSED})


def _outcome(registry: Registry, version: int, passed: bool, champion: int | None) -> str:
    if registry.champion() == version:
        registry.promote(version, "", instead_of=version)  # ends a promotion that died half-way
        return "this very model is the champion already; nothing was changed"
    if not passed:
        return "challenger; a check of the gate fails (see `crossprobe models`), the champion stays"
    tags = registry.tags(version)
    if tags.get(ORDER) and registry.champion() != version:
        why = f"withdrawn ({tags[WITHDRAWN]})" if tags.get(WITHDRAWN) else "replaced"
        return (
            f"every check holds, but it was champion before and was {why}; to use it again: "
            f"`crossprobe promote {version}`"
        )
    if registry.promote(version, "passed the gate", instead_of=champion):
        return "champion"
    return (
        f"challenger; it was compared with {champion or 'no champion'}, but version {registry.champion()} "
        "became champion meanwhile: run the pipeline `register` again to compare with that one"
    )


def _tags(package: Package, logged: dict[str, Any], reload: dict[str, Any], run: StageRun) -> dict[str, str]:
    index = package.index
    assert package.folder is not None
    tags = {
        FINGERPRINT: index.fingerprint(),
        PACKAGE_HASH: index_hash(package.folder),
        PREFIX + "study": str(index.provenance.get("study", "")),
        PREFIX + "arm": index.arm,
        PREFIX + "run": run.parent,
        RELOADED: json.dumps(reload),
    }
    tags |= {f"{PREFIX}score.{name}": text for name, text in logged.get("scores", {}).items()}
    for site, facts in index.provenance["sites"].items():
        tags[f"{PREFIX}data.{site}"] = facts["frame_store"]
        tags[f"{PREFIX}split.{site}"] = facts["split_hash"]
    return tags
