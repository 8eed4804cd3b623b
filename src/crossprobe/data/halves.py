"""Two sites out of one: halves of a data set's patients, alike in class, that share nobody.

Adapting from one half to the other must neither help nor hurt: the control for a shift of zero.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import pandas as pd


def half_of_patients(recordings: pd.DataFrame, half: Literal["first", "second"]) -> pd.DataFrame:
    """Keeps every other patient, class by class, in an order that depends on the pseudonyms alone.

    Args:
        recordings: Table with the columns `patient` and `class`.
        half: Which half.

    Returns:
        The rows of that half, numbered afresh; the two halves are disjoint by patient and together complete.
    """
    kinds = recordings.groupby("patient")["class"].agg(lambda values: "+".join(sorted(set(values))))

    def place(patient: str) -> tuple[str, str]:
        return str(kinds[patient]), hashlib.sha256(patient.encode()).hexdigest()

    ordered = sorted(kinds.index, key=place)
    chosen = ordered[0 if half == "first" else 1 :: 2]
    return recordings[recordings["patient"].isin(chosen)].reset_index(drop=True)
