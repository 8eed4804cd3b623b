"""Halves of one site's patients: disjoint, complete, alike in class, whatever the order of the rows."""

from __future__ import annotations

import pandas as pd

from crossprobe.data.halves import half_of_patients


def table(count: int = 40) -> pd.DataFrame:
    rows = [(f"p{n}", "benign" if n % 4 else "malignant") for n in range(count) for _ in range(2)]
    return pd.DataFrame(rows, columns=["patient", "class"])


def test_halves_share_nobody_and_leave_nobody_out():
    whole = table()
    first, second = (set(half_of_patients(whole, half)["patient"]) for half in ("first", "second"))
    assert not first & second
    assert first | second == set(whole["patient"])
    assert abs(len(first) - len(second)) <= 1


def test_classes_are_dealt_alike_and_rows_may_come_in_any_order():
    whole = table()
    shuffled = whole.sample(frac=1, random_state=1)
    for half in ("first", "second"):
        chosen = half_of_patients(whole, half)
        assert (chosen["class"] == "malignant").mean() == 0.25
        assert set(half_of_patients(shuffled, half)["patient"]) == set(chosen["patient"])
