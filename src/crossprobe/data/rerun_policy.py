"""Decides from what has arrived whether to train again: a rule over new patients and days."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crossprobe.data.fingerprint import fingerprint

SECONDS_A_DAY = 86_400


class RerunRule(BaseModel):
    """When to train again. Data that did not change are never trained on twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    new_patients: int | None = Field(
        5, ge=1, description="Train when so many patients are new since the last training; null never does"
    )
    days: float | None = Field(
        30.0, ge=0, description="Train when anything changed and the last training is so many days ago; null "
        "never does"
    )  # fmt: skip


class Decision(BaseModel):
    """What was decided and why.

    Attributes:
        retrain: Whether to train.
        changed: Whether the data differ from those last trained on.
        reason: In words.
        data_hash: Of all sites' manifests and splits.
        new_patients: Patients who were not there at the last training.
        days: Since the last training; None if there was none.
    """

    model_config = ConfigDict(frozen=True)

    retrain: bool
    changed: bool
    reason: str
    data_hash: str
    new_patients: int
    days: float | None


def decide(
    rule: RerunRule,
    manifests: Mapping[str, str],
    patients: Mapping[str, Collection[str]],
    last: Mapping[str, Any] | None,
    now: datetime.datetime,
) -> Decision:
    """Applies the rule.

    A clock that was set back gives days below zero; they count as none, and the reason says so.

    Args:
        rule: When to train.
        manifests: Hash of the data by site.
        patients: Pseudonyms by site.
        last: The decision whose training ended last (`data_hash`, `patients`, `trained`), None if none did.
        now: The time, with its zone.

    Returns:
        The decision.
    """
    data_hash = fingerprint(dict(manifests))
    known = {} if last is None else last["patients"]
    new = sum(len(set(ids) - set(known.get(site, ()))) for site, ids in patients.items())
    if last is None:
        return Decision(retrain=True, changed=True, reason="no training on record", data_hash=data_hash,
                        new_patients=new, days=None)  # fmt: skip
    trained = last["trained"]
    if trained.tzinfo is None:
        trained = trained.replace(tzinfo=datetime.UTC)
    passed = (now - trained).total_seconds() / SECONDS_A_DAY
    days = max(0.0, passed)
    clock = "" if passed >= 0 else "; the clock stands before the last training, so no days are counted"
    facts: dict[str, Any] = {"data_hash": data_hash, "new_patients": new, "days": round(days, 3)}
    if data_hash == last["data_hash"]:
        return Decision(retrain=False, changed=False, reason="nothing changed", **facts)
    since = f"{new} new patients and {days:.1f} days since the last training{clock}"
    due = (rule.new_patients is not None and new >= rule.new_patients) or (
        rule.days is not None and passed >= rule.days
    )
    limits = f"new_patients={rule.new_patients}, days={rule.days}"
    verdict = "due" if due else "not due yet"
    return Decision(retrain=due, changed=True, reason=f"{since}: {verdict} ({limits})", **facts)
