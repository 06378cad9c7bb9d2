"""Which rows see which: groups, time, explicit splits, repeats, cells."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, TimeSeriesSplit

from skbilevel.model_selection._plan import (
    PlanRequest,
    default_plan,
    repeated,
    split_plan,
)
from skbilevel.model_selection._resampling import membership_atoms


def request(n=60, groups=None, width=5, seed=0):
    return PlanRequest(n, width, groups, np.random.default_rng(seed))


def sets_of(plan):
    return [plan.full, *plan.outer]


def pairs_of(training):
    return [*training.halves, *(training.shared or ())]


def check_nested(plan):
    """Folds are disjoint from their validation rows, resamples lie inside."""
    assert len(plan.outer) == len(plan.held_out)
    for training, held_out in zip(plan.outer, plan.held_out, strict=True):
        assert not np.intersect1d(training.rows, held_out).size
    for training in sets_of(plan):
        for a, b in pairs_of(training):
            assert len(a)
            assert len(b)
            assert not np.intersect1d(a, b).size
            assert np.isin(np.r_[a, b], training.rows).all()


def test_default_is_five_folds_twice():
    plan = default_plan(request(), 5)
    check_nested(plan)
    assert len(plan.outer) == 10
    for k in (0, 5):
        assert_array_equal(np.sort(np.concatenate(plan.held_out[k : k + 5])), range(60))
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(plan.held_out[:5], plan.held_out[5:], strict=True)
    )
    assert plan.cell is None
    assert all(len(s.halves) == 10 for s in sets_of(plan))


def test_many_rows_are_folded_once():
    plan = default_plan(request(1500), 5)
    assert len(plan.outer) == 5
    assert all(len(s.halves) == 4 for s in sets_of(plan))


@pytest.mark.parametrize("n", [5000, 5321])
def test_cells_make_every_set(n):
    plan = default_plan(request(n), 5)
    check_nested(plan)
    assert plan.cell is not None
    for training in sets_of(plan):
        assert training.shared
        for index in (training.rows, *(x for pair in pairs_of(training) for x in pair)):
            inside = np.zeros(n, dtype=bool)
            inside[index] = True
            for cell in np.unique(plan.cell[index]):
                assert inside[plan.cell == cell].all()


def test_too_wide_rows_are_not_kept_by_cells():
    assert default_plan(request(5000, width=3000), 5).cell is None


def test_halves_never_split_groups():
    groups = np.repeat(np.arange(12), 5)
    order = np.random.default_rng(0).permutation(60)
    groups = groups[order].astype(str)
    splits = list(GroupKFold(4).split(np.zeros(60), groups=groups))
    plan = split_plan(request(groups=groups), splits, False)
    check_nested(plan)
    for training in sets_of(plan):
        assert training.halves
        assert training.shared
        for a, b in pairs_of(training):
            assert not np.intersect1d(groups[a], groups[b]).size
    _, expected = np.unique(groups, return_inverse=True)
    assert_array_equal(plan.cluster, expected)


def test_time_goes_forward_inside():
    splits = list(TimeSeriesSplit(4).split(np.zeros(60)))
    plan = split_plan(request(), splits, False)
    check_nested(plan)
    for training in sets_of(plan):
        for a, b in pairs_of(training):
            assert a.max() < b.min()
    assert plan.full.halves


def test_explicit_splits_give_unions_of_atoms():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 6, 60)
    splits = [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in (0, 2)]
    splits.append((np.flatnonzero(label < 3), np.flatnonzero(label > 3)))
    plan = split_plan(request(), splits, True)
    check_nested(plan)
    atom = membership_atoms(60, splits)
    for training in sets_of(plan):
        if len(np.unique(atom[training.rows])) < 2:
            continue
        for index in (x for pair in pairs_of(training) for x in pair):
            inside = np.isin(np.arange(60), index)
            for k in np.unique(atom[index]):
                assert inside[(atom == k) & np.isin(np.arange(60), training.rows)].all()


def test_one_hold_out():
    splits = [(np.arange(40), np.arange(40, 60))]
    plan = split_plan(request(), splits, True)
    check_nested(plan)
    assert len(plan.outer) == 1
    assert plan.outer[0].halves


def test_masks_and_unsorted_indices():
    mask = np.arange(60) % 3 == 0
    index = [(np.flatnonzero(~mask)[::-1], np.flatnonzero(mask)[::-1])]
    plan = split_plan(request(), index, True)
    check_nested(plan)


def test_the_same_seed_gives_the_same_plan():
    a, b = default_plan(request(seed=3), 5), default_plan(request(seed=3), 5)
    for x, y in zip(a.held_out, b.held_out, strict=True):
        assert_array_equal(x, y)
    for x, y in zip(a.full.halves, b.full.halves, strict=True):
        assert_array_equal(x[0], y[0])


def test_splitters_with_a_seed_are_repeated():
    rng = np.random.default_rng(0)
    first = KFold(5, shuffle=True, random_state=0)
    again = repeated(first, rng)
    assert again is not None
    assert first.random_state == 0
    assert not np.array_equal(
        next(iter(first.split(np.zeros(20))))[1],
        next(iter(again.split(np.zeros(20))))[1],
    )
    assert repeated(ShuffleSplit(3), rng) is not None
    assert repeated(KFold(5), rng) is None
    assert repeated(GroupKFold(5), rng) is None
    assert repeated(TimeSeriesSplit(5), rng) is None
