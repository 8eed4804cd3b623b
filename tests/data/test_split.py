from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crossprobe.data.split import Split, SplitSettings, split_patients
from crossprobe.errors import InvalidMetadata


def manifest(patients: dict[str, tuple[str, bool]]) -> pd.DataFrame:
    rows = [
        {
            "patient": patient,
            "class": kind,
            "labelled": labelled and frame == 0,
            "video": f"v_{patient}",
            "frame": frame,
        }
        for patient, (kind, labelled) in patients.items()
        for frame in range(2)
    ]
    return pd.DataFrame(rows)


def cohort(count: int, labelled: int | None = None) -> pd.DataFrame:
    labels = count if labelled is None else labelled
    return manifest({f"p_{i:03d}": ("sick" if i % 3 == 0 else "well", i < labels) for i in range(count)})


patients = st.dictionaries(
    st.text("abcdef0123456789", min_size=1, max_size=5),
    st.tuples(st.sampled_from("xyz"), st.booleans()),
    min_size=3,
    max_size=60,
)
shares = st.lists(st.integers(1, 20), min_size=1, max_size=3).map(
    lambda parts: {f"part{index}": share / sum(parts) for index, share in enumerate(parts)}
)


@settings(deadline=None)
@given(patients, shares, st.integers(0, 5), st.randoms())
def test_a_split_is_disjoint_complete_and_independent_of_order(people, fractions, seed, random):
    table = manifest(people)
    chosen = SplitSettings(fractions=fractions, seed=seed)
    split = split_patients(table, chosen, "s")
    everyone = [patient for part in split.parts.values() for patient in part]
    assert sorted(everyone) == sorted(people)
    assert all(split.parts[part] for part in fractions)
    order = list(range(len(table)))
    random.shuffle(order)
    assert split_patients(table.iloc[order], chosen, "s") == split
    for part, share in fractions.items():
        assert abs(len(split.parts[part]) - share * len(people)) < len(fractions)


@settings(deadline=None)
@given(patients, st.integers(0, 5))
def test_labelled_parts_hold_labelled_patients_only(people, seed):
    fractions = {"train": 0.6, "selection": 0.2, "test": 0.2}
    chosen = SplitSettings(fractions=fractions, seed=seed, labelled_parts=("test",))
    table = manifest(people)
    split = split_patients(table, chosen, "s")
    if any(labelled for _, labelled in people.values()):
        assert all(people[patient][1] for patient in split.parts["test"])
    assert sorted(patient for part in split.parts.values() for patient in part) == sorted(people)
    assert all(split.parts.values())


def test_shares_are_kept():
    split = split_patients(
        cohort(109), SplitSettings(fractions={"train": 0.68, "val": 0.16, "test": 0.16}), "s"
    )
    assert {part: len(people) for part, people in split.parts.items()} == {"train": 74, "val": 18, "test": 17}


def test_classes_are_spread():
    table = cohort(90)
    kind = table.groupby("patient")["class"].first()
    for seed in range(10):
        split = split_patients(table, SplitSettings(seed=seed), "s")
        for people in split.parts.values():
            assert abs((kind[people] == "sick").mean() - 1 / 3) < 0.08


def test_another_seed_or_site_draws_another_split():
    table = cohort(40)
    one = split_patients(table, SplitSettings(seed=1), "s")
    assert split_patients(table, SplitSettings(seed=2), "s").parts != one.parts
    assert split_patients(table, SplitSettings(seed=1), "other").parts != one.parts


def test_one_patient_only_is_refused():
    with pytest.raises(
        InvalidMetadata, match=r"site 's' has 1 patient, but the parts .* need at least one each"
    ):
        split_patients(cohort(1), SplitSettings(), "s")


def test_too_few_patients_are_refused():
    with pytest.raises(InvalidMetadata, match="site 's' has 2 patients, but the parts"):
        split_patients(cohort(2), SplitSettings(), "s")


def test_the_fewest_patients_that_do_get_one_each():
    split = split_patients(
        cohort(3), SplitSettings(fractions={"train": 0.98, "val": 0.01, "test": 0.01}), "s"
    )
    assert sorted(len(people) for people in split.parts.values()) == [1, 1, 1]


def test_too_few_labelled_patients_shrink_the_labelled_part():
    chosen = SplitSettings(fractions={"train": 0.5, "test": 0.5}, labelled_parts=("test",))
    split = split_patients(cohort(20, labelled=3), chosen, "s")
    assert split.parts["test"] == ["p_000", "p_001", "p_002"]
    assert len(split.parts["train"]) == 17


def test_a_split_survives_its_file_and_notices_an_edit():
    split = split_patients(cohort(12), SplitSettings(), "s")
    text = split.model_dump_json()
    assert Split.model_validate_json(text) == split
    moved = split.parts["test"][0]
    with pytest.raises(ValidationError, match="hash does not match"):
        Split.model_validate_json(text.replace(moved, "p_else"))


def test_the_hash_follows_the_manifest():
    one = split_patients(cohort(12), SplitSettings(), "s")
    other = split_patients(cohort(12).assign(content="x"), SplitSettings(), "s")
    assert one.parts == other.parts
    assert one.hash != other.hash


def test_a_patient_in_two_parts_is_refused():
    with pytest.raises(ValidationError, match="patient p is in 'train' and 'test'"):
        Split(site="s", parts={"train": ["p"], "test": ["p"]}, seed=0, manifest_hash="m")


def test_a_part_that_is_not_there_is_named():
    split = split_patients(cohort(12), SplitSettings(), "s")
    assert split.patients("train") == split.parts["train"]
    with pytest.raises(InvalidMetadata, match=r"no part 'tset'; it has \['test', 'train', 'val'\]"):
        split.patients("tset")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fractions": {"a": 0.5, "b": 0.4}}, "sum to 1"),
        ({"fractions": {"a": 1.5, "b": -0.5}}, "above 0"),
        ({"fractions": {}}, "above 0"),
        ({"labelled_parts": ("tset",)}, "labelled_parts names"),
        ({"fraction": {}}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        SplitSettings(**values)


def test_a_site_without_labels_is_split_unless_every_part_wants_some():
    fractions = {"train": 0.55, "selection": 0.15, "test": 0.30}
    target = SplitSettings(fractions=fractions, labelled_parts=("test",))
    split = split_patients(cohort(20, labelled=0), target, "target")
    assert {part: len(people) for part, people in split.parts.items()} == {
        "train": 11, "selection": 3, "test": 6,
    }  # fmt: skip
    source = SplitSettings(fractions=fractions, labelled_parts=tuple(fractions))
    with pytest.raises(InvalidMetadata, match="0 patients with labels"):
        split_patients(cohort(20, labelled=0), source, "source")
