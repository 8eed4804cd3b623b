"""Groups of near-identical images keep their members and names, whatever arrives and in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crossprobe.data.image_groups import join_groups


@st.composite
def graphs(draw, least=0):
    """Pairs among some images, and how many of the images came first."""
    count = draw(st.integers(least, 9))
    places = st.integers(0, max(0, count - 1))
    pairs = draw(st.lists(st.tuples(places, places), max_size=12)) if count else []
    return count, [pair for pair in pairs if pair[0] != pair[1]], draw(st.integers(0, count))


@given(graphs())
def test_without_a_record_groups_are_connected_images(graph):
    count, pairs, _ = graph
    joined = join_groups(pairs, [None] * count)
    assert not joined.bridging
    if count:
        ends = np.array(pairs, dtype=int).reshape(-1, 2)
        _, labels = connected_components(
            coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)), directed=False
        )
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        assert joined.groups.tolist() == first[inverse].tolist()


@given(graphs(least=1))
def test_late_images_rename_nobody_and_what_is_alike_stays_together(graph):
    count, pairs, early = graph
    first = join_groups([pair for pair in pairs if max(pair) < early], [None] * early).groups
    names = [f"group {group}" for group in first] + [None] * (count - early)
    joined = join_groups(pairs, names)
    # Who is on record stays where it is and with whom it is.
    assert all(place >= early for place in joined.bridging)
    assert [f"group {group}" for group in joined.groups[:early]] == names[:early]
    # Nothing that is left and alike lies in two groups.
    for one, other in pairs:
        if not joined.bridging & {one, other}:
            assert joined.groups[one] == joined.groups[other]


def test_a_late_image_between_two_groups_is_set_aside_and_the_rest_goes_on():
    joined = join_groups([(2, 0), (2, 1), (3, 1)], ["a", "b", None, None])
    assert joined.bridging == {2}
    assert joined.groups.tolist() == [0, 1, 2, 1]


def test_two_late_images_that_bridge_together():
    """One is alike to either group, and they are alike: the later one goes."""
    joined = join_groups([(0, 2), (1, 3), (2, 3)], ["a", "b", None, None])
    assert joined.bridging == {3}
    assert joined.groups[2] == 0


def test_members_on_record_are_one_group_though_the_copy_between_them_is_gone():
    assert join_groups([], ["a", "b", "a"]).groups.tolist() == [0, 1, 0]
