from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.data.split import SplitSettings, split_patients
from crossprobe.data.split_classes import spread_classes


def manifest(sizes: dict[str, int]) -> pd.DataFrame:
    kinds = [kind for kind, count in sizes.items() for _ in range(count)]
    names = [f"g_{place:03d}" for place in range(len(kinds))]
    return pd.DataFrame({"patient": names, "class": kinds, "labelled": True, "video": names, "frame": 0})


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_a_tiny_class_is_in_every_part(count):
    table = manifest({"benign": 120, "malignant": 60, "rare": count})
    kind = dict(zip(table["patient"], table["class"], strict=True))
    for seed in range(20):
        split = split_patients(table, SplitSettings(seed=seed), "s")
        assert all("rare" in {kind[patient] for patient in split.parts[part]} for part in split.parts)
        assert {part: len(people) for part, people in split.parts.items()} == {
            part: pytest.approx(share * len(table), abs=1)
            for part, share in {"train": 0.7, "val": 0.15, "test": 0.15}.items()
        }


def test_a_class_too_small_for_all_parts_stays_where_it_was_dealt():
    parts = {"train": ["a", "b", "r"], "test": ["c", "d", "e"], "val": ["f", "g"]}
    kinds = dict.fromkeys("abcdefg", "common") | {"r": "rare"}
    assert spread_classes(parts, kinds, set(kinds), ()) == parts


def test_a_labelled_part_takes_labelled_patients_only():
    parts = {"train": ["a", "r", "s", "b"], "test": ["c", "d"]}
    kinds = dict.fromkeys("abcd", "common") | {"r": "rare", "s": "rare"}
    moved = spread_classes(parts, kinds, {"r", "c", "d"}, ("test",))
    assert "r" in moved["test"]
    assert "s" in moved["train"]
    assert spread_classes(parts, kinds, {"c", "d"}, ("test",)) == parts, "no rare patient has labels"


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 12), min_size=1, max_size=4).filter(
        lambda sizes: sum(sizes.values()) >= 3
    ),
    st.integers(0, 50),
)
def test_nobody_is_lost_and_no_size_changes(sizes, seed):
    table = manifest(sizes)
    split = split_patients(table, SplitSettings(seed=seed), "s")
    plain = split_patients(table.assign(**{"class": "one"}), SplitSettings(seed=seed), "s")
    assert sorted(p for people in split.parts.values() for p in people) == sorted(table["patient"])
    assert {part: len(people) for part, people in split.parts.items()} == {
        part: len(people) for part, people in plain.parts.items()
    }
