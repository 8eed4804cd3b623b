"""The table of arms: every arm on both sites' test patients, with intervals, differences and claims."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crossprobe.evaluation.claimed import claimed_value
from crossprobe.evaluation.comparison_settings import ArmRoles, StatisticsSettings
from crossprobe.evaluation.statistics import ByPatient, compare, interval_of

SITES = ("source", "target")
METRICS = ("dsc", "iou", "hd95_mm", "hd95_px", "assd_mm", "assd_px", "nsd_mm", "nsd_px", "dsc_truth")


def arms_table(
    metrics: pd.DataFrame,
    roles: ArmRoles | None = None,
    comparisons: pd.DataFrame | None = None,
    settings: StatisticsSettings | None = None,
    names: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """Makes the table of arms as tidy data.

    Args:
        metrics: Long patient table. Arms keep the order in which they first appear.
        roles: Which arm is the baseline and which the fused one.
        comparisons: Declared and corrected tests (`statistics.comparisons`); a corrected p is shown where the
            pair was declared, whichever way round, and nowhere else.
        settings: How to draw intervals.
        names: Metrics to show, in order.

    Returns:
        One row an arm, site and metric: `arm, site, metric, mean, low, high, n_patients, n_seeds, claimed`,
        and for each of `baseline` and `fused`: `<role>_difference, <role>_low, <role>_high, <role>_p_holm`
        (NaN for an arm against itself or a role that is not there).
    """
    roles = roles or ArmRoles()
    there = set(zip(metrics["arm"], metrics["site"], metrics["metric"], strict=True))
    sites = [*SITES, *(site for site in dict.fromkeys(metrics["site"]) if site not in SITES)]
    values, declared = ByPatient(metrics), _declared(comparisons)
    rows = []
    for arm in dict.fromkeys(metrics["arm"]):
        for site in sites:
            for metric in names:
                if (arm, site, metric) not in there:
                    continue
                interval = interval_of(values, arm, site, metric, settings)
                row: dict[str, object] = {"arm": arm, "site": site, "metric": metric}
                row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
                row |= {
                    "n_patients": interval.n_patients,
                    "n_seeds": values.table(arm, site, metric).shape[1],
                }
                row |= {"claimed": claimed_value(roles.claimed_as(arm), site, metric)}
                for role, against in (("baseline", roles.baseline), ("fused", roles.fused)):
                    known = against is not None and against != arm and (against, site, metric) in there
                    found = compare(values, arm, str(against), site, metric, settings) if known else {}
                    for part in ("difference", "low", "high"):
                        row[f"{role}_{part}"] = found.get(part, float("nan"))
                    row[f"{role}_p_holm"] = declared.get(
                        (frozenset((arm, against)), site, metric), float("nan")
                    )
                rows.append(row)
    return pd.DataFrame(rows)


def declared_p(
    comparisons: pd.DataFrame | None, arm: str, against: str | None, site: str, metric: str
) -> float:
    """Finds the corrected p of a pair among the declared tests.

    Args:
        comparisons: Declared and corrected tests.
        arm: One arm.
        against: The other.
        site: Site.
        metric: Metric.

    Returns:
        The p, NaN where the pair was not declared.
    """
    return _declared(comparisons).get((frozenset((arm, against)), site, metric), float("nan"))


def _declared(comparisons: pd.DataFrame | None) -> dict[tuple[frozenset[str | None], str, str], float]:
    """Corrected p of every declared pair, whichever way round; of a pair in two families, the first."""
    found: dict[tuple[frozenset[str | None], str, str], float] = {}
    if comparisons is not None and len(comparisons):
        columns = (comparisons[name].tolist() for name in ("arm", "against", "site", "metric", "p_holm"))
        for arm, against, site, metric, p in zip(*columns, strict=True):
            found.setdefault((frozenset((arm, against)), site, metric), float(p))
    return found
