from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.data.split import SplitSettings, extend_split, split_patients
from crossprobe.errors import InvalidMetadata

SHARES = SplitSettings(fractions={"train": 0.6, "val": 0.15, "test": 0.25})


def manifest(people: dict[str, tuple[str, bool]]) -> pd.DataFrame:
    rows = [
        {"patient": patient, "class": kind, "labelled": labelled, "video": f"v_{patient}", "frame": 0}
        for patient, (kind, labelled) in people.items()
    ]
    return pd.DataFrame(rows)


def parts_of(split) -> dict[str, str]:
    return {patient: part for part, patients in split.parts.items() for patient in patients}


people = st.dictionaries(
    st.text("abcdef0123456789", min_size=1, max_size=6),
    st.tuples(st.sampled_from("xyz"), st.booleans()),
    min_size=6,
    max_size=60,
)


def batches(data: dict, cuts: list[int]) -> list[dict]:
    names = sorted(data)
    edges = sorted({min(max(3, cut), len(names)) for cut in cuts} | {len(names)})
    return [{name: data[name] for name in names[:edge]} for edge in edges]


@settings(deadline=None)
@given(people, st.integers(0, 3))
def test_the_first_split_is_the_one_it_always_was(data, seed):
    chosen = SHARES.model_copy(update={"seed": seed})
    assert extend_split(manifest(data), chosen, "s", {}) == split_patients(manifest(data), chosen, "s")


@settings(deadline=None)
@given(people, st.lists(st.integers(3, 60), max_size=5))
def test_nobody_ever_moves_and_everyone_has_a_part(data, cuts):
    known: dict[str, str] = {}
    for present in batches(data, cuts):
        split = extend_split(manifest(present), SHARES, "s", known)
        now = parts_of(split)
        assert set(now) == set(present)
        assert all(now[patient] == part for patient, part in known.items())
        known |= now
    for part, share in SHARES.fractions.items():
        assert abs(len(split.parts[part]) - share * len(data)) <= 2


@settings(deadline=None)
@given(people, st.lists(st.integers(3, 60), max_size=4), st.randoms())
def test_replaying_the_batches_gives_the_same_split_in_whatever_order_rows_come(data, cuts, random):
    splits = []
    for _ in range(2):
        known: dict[str, str] = {}
        for present in batches(data, cuts):
            table = manifest(present)
            order = list(range(len(table)))
            random.shuffle(order)
            split = extend_split(table.iloc[order], SHARES, "s", known)
            known |= parts_of(split)
        splits.append(split)
    assert splits[0] == splits[1]


@settings(deadline=None)
@given(people, st.data())
def test_patients_who_leave_come_back_to_their_part(data, draw):
    first = parts_of(extend_split(manifest(data), SHARES, "s", {}))
    stay = draw.draw(st.sets(st.sampled_from(sorted(data)), min_size=1))
    left = {name: data[name] for name in stay}
    if {first[name] for name in stay} == set(SHARES.fractions):
        without = parts_of(extend_split(manifest(left), SHARES, "s", first))
        assert without == {name: first[name] for name in stay}
    else:
        with pytest.raises(InvalidMetadata, match="no patient is left in"):
            extend_split(manifest(left), SHARES, "s", first)
    assert parts_of(extend_split(manifest(data), SHARES, "s", first)) == first


@settings(deadline=None)
@given(people, st.data())
def test_near_duplicates_join_the_part_of_their_group(data, draw):
    names = sorted(data)
    old = {name: data[name] for name in names[: len(names) // 2 + 1]}
    known = parts_of(extend_split(manifest(old), SHARES, "s", {}))
    new = names[len(old) :]
    anchor = draw.draw(st.sampled_from(sorted(old)))
    joining = draw.draw(st.sets(st.sampled_from(new), min_size=1)) if new else set()
    now = parts_of(extend_split(manifest(data), SHARES, "s", known, [{anchor, *joining}]))
    assert {now[name] for name in joining} <= {known[anchor]}
    if len(new) > 1:
        together = parts_of(extend_split(manifest(data), SHARES, "s", known, [set(new[:2])]))
        assert together[new[0]] == together[new[1]]


def test_new_patients_without_labels_never_enter_a_part_that_wants_them():
    wanting = SHARES.model_copy(update={"labelled_parts": ("test",)})
    old = {f"p{i}": ("x", True) for i in range(6)}
    known = parts_of(extend_split(manifest(old), wanting, "s", {}))
    new = old | {f"q{i}": ("x", False) for i in range(20)}
    assert not [p for p in extend_split(manifest(new), wanting, "s", known).parts["test"] if p[0] == "q"]


def test_where_every_part_wants_labels_the_unlabelled_wait_outside():
    wanting = SHARES.model_copy(update={"labelled_parts": ("train", "val", "test")})
    old = {f"p{i}": ("x", True) for i in range(6)}
    known = parts_of(extend_split(manifest(old), wanting, "s", {}))
    waiting = extend_split(manifest(old | {"q": ("x", False)}), wanting, "s", known)
    assert parts_of(waiting) == known
    assert waiting.outside == ["q"]
    assert "q" in parts_of(extend_split(manifest(old | {"q": ("x", True)}), wanting, "s", known))


def test_a_part_that_lost_everybody_is_named():
    known = {"a": "train", "b": "val", "c": "test"}
    with pytest.raises(InvalidMetadata, match=r"no patient is left in \['test'\]"):
        extend_split(manifest({"a": ("x", True), "b": ("x", True)}), SHARES, "s", known)


def test_a_site_whose_labels_come_late_keeps_its_test_patients():
    chosen = SplitSettings(fractions={"train": 0.6, "test": 0.4}, labelled_parts=("test",))
    names = [f"p{number:02d}" for number in range(20)]
    first = parts_of(extend_split(manifest(dict.fromkeys(names[:10], ("x", False))), chosen, "s", {}))
    more = parts_of(extend_split(manifest(dict.fromkeys(names, ("x", False))), chosen, "s", first))
    assert list(more.values()).count("test") == 8, "without any label, newcomers too are held back for it"
    labelled = {name: ("x", part == "test") for name, part in more.items()}
    late = extend_split(manifest(labelled | {"new": ("x", False)}), chosen, "s", more)
    assert parts_of(late) == {**more, "new": "train"}
