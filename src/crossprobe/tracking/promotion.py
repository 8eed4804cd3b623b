"""Promotion by hand: what the gate found still counts, unless it is overruled with a reason."""

from __future__ import annotations

from crossprobe.errors import RegistryError
from crossprobe.tracking.decision import COMPARED, GATE, PASSED, REASONS
from crossprobe.tracking.registry import Registry


def promote_by_hand(registry: Registry, version: int, force: str | None) -> str:
    """Makes a version the champion.

    Args:
        registry: The registered model.
        version: The version.
        force: Why the gate is overruled; None where it is not.

    Returns:
        What happened, for people.

    Raises:
        RegistryError: The gate did not pass the version, or not against the present champion, or another
            writer was faster.
    """
    champion = registry.champion()
    if champion == version:
        # If a promotion of it died half-way, this ends it.
        registry.promote(version, "", instead_of=version)
        return f"{registry.name} version {version} is the champion already"
    tags = registry.tags(version)
    if force is not None and not force.strip():
        raise RegistryError("--force needs a reason, such as --force 'checked by hand on 40 clips'")
    if force is None:
        compared = tags.get(COMPARED, "")
        if tags.get(GATE) != PASSED:
            found = tags.get(REASONS, "it was registered without the gate")
            raise RegistryError(
                f"{registry.name} version {version} did not pass the gate:\n{found}\n"
                f"To use it all the same: crossprobe promote {version} --force 'REASON'"
            )
        if compared != ("" if champion is None else str(champion)):
            raise RegistryError(
                f"{registry.name} version {version} was compared with {compared or 'no champion'}, but "
                f"champion is {champion or 'none'} now. Compare again with `kedro run --pipeline=register`, "
                f"or crossprobe promote {version} --force 'REASON'"
            )
    reason = "passed the gate, promoted by hand" if force is None else f"by hand: {force}"
    if not registry.promote(version, reason, instead_of=champion):
        raise RegistryError(
            f"the champion of {registry.name} changed while you promoted; look with `crossprobe models`"
        )
    return f"{registry.name}: version {version} is champion" + (
        f", instead of version {champion}" if champion else ""
    )
