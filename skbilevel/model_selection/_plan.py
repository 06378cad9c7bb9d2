"""From the user's ``cv`` and groups to nested folds and the resamples inside.

Where every solve is a long one, folds and hold-outs are as few as a budget allows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._resampling import (
    NestedPlan,
    Pair,
    TrainingSet,
    fold_labels,
    forward_pairs,
    halvings,
    leave_one_unit_out,
    membership_atoms,
    random_sides,
)
from skbilevel.problems._moments import CELL_BYTES
from skbilevel.problems._summed_rows import SummedRows

# Validation noise averages out with rows: fewer repeats and halvings are enough.
_REPEAT_BELOW, _HALVINGS_BELOW = 1000, 600
# From this many rows on every sum of moments is taken in one pass over the rows.
ONE_PASS_FROM = 5000
# Below this many rows a nested choice is noise: the shared strength is used alone.
MIN_ROWS = 20
_INNER_FOLDS = 5


@record
class PlanRequest:
    """What the nested plan depends on.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    width : int
        Length of an augmented row: bounds the memory of stored moments.
    groups : ndarray or None
        Labels of rows that must stay together.
    rng : numpy.random.Generator
        Draws folds and halves.
    strata : ndarray or None
        Labels of the rows (classes) that folds and halves share out evenly.
    inner_folds : bool
        Whether shared strengths need folds inside: no closed form predicts left-out
        rows. Folds are then drawn once: a second repeat gains nothing there.
    halves : bool
        Whether anything is tuned on halves of the training sets.
    """

    n_rows: int
    width: int
    groups: Array | None
    rng: np.random.Generator
    strata: Array | None = None
    inner_folds: bool = False
    halves: bool = True

    def halvings(self, rows: Array, sides: Array) -> list[Pair]:
        """Halvings of some rows, where they are of use."""
        return halvings(rows, sides) if self.halves else []


def default_plan(request: PlanRequest, n_folds: int) -> NestedPlan:
    """Shuffled K-fold, twice where rows are few."""
    n, strata, n_folds = request.n_rows, request.strata, min(n_folds, request.n_rows)
    few = n < _REPEAT_BELOW and not request.inner_folds
    # Folds of one row, or nearly, are the same when they are drawn again.
    few = few and 2 * n_folds <= n
    n_halvings = 5 if n < _HALVINGS_BELOW else 2
    sides = random_sides(n, n_halvings, request.rng, strata)
    labels = [
        fold_labels(n, n_folds, request.rng, strata) for _ in range(2 if few else 1)
    ]
    cell = _cells_of(labels[-1], sides, request)
    # Shared strengths by the folds inside need no pass over the rows.
    by_folds = request.inner_folds or cell is not None

    def make(rows: Array, label: Array) -> TrainingSet:
        shared = leave_one_unit_out(rows, label) if by_folds else None
        return TrainingSet(rows, request.halvings(rows, sides), shared)

    rows, outer, held_out = np.arange(n), list[TrainingSet](), list[Array]()
    for label in labels:
        outer += [make(np.flatnonzero(label != k), label) for k in range(n_folds)]
        held_out += [np.flatnonzero(label == k) for k in range(n_folds)]
    return NestedPlan(make(rows, labels[-1]), outer, held_out, cell, rows)


def _cells_of(label: Array, sides: Array, request: PlanRequest) -> Array | None:
    """Cells for one pass over many rows, where their moments fit."""
    if len(label) < ONE_PASS_FROM:
        return None
    if request.halves:
        pattern = sides.T @ (1 << np.arange(len(sides)))
        label = label * (1 << len(sides)) + pattern
    fit = (label.max() + 1) * 8 * request.width**2 <= CELL_BYTES
    return label if fit else None


def split_plan(
    request: PlanRequest, splits: Sequence[Pair], by_membership: bool
) -> NestedPlan:
    """Nested folds are given splits; inner resamples respect what they respect.

    With groups, halves are halves of groups. Splits given row by row
    (``by_membership``) are taken as the only statement about which rows belong
    together: inner resamples are unions of the sets of rows that no split tells
    apart. Where training rows precede validation rows in every split, so do they
    inside.
    """
    make = _inner_resamples(request, splits, by_membership)
    cluster = np.arange(request.n_rows)
    if request.groups is not None:
        _, cluster = np.unique(request.groups, return_inverse=True)
    return NestedPlan(
        make(np.arange(request.n_rows)),
        [make(a) for a, _ in splits],
        [b for _, b in splits],
        None,
        cluster,
    )


def _inner_resamples(
    request: PlanRequest, splits: Sequence[Pair], by_membership: bool
) -> Callable[[Array], TrainingSet]:
    """How a training set of these splits is resampled."""
    if len(splits) > 1 and all(a.max() < b.min() for a, b in splits):
        return lambda rows: TrainingSet(
            rows, forward_pairs(rows, 4), forward_pairs(rows, 4) or None
        )
    atom = membership_atoms(request.n_rows, splits)
    if request.groups is not None:
        _, unit = np.unique(request.groups, return_inverse=True)
    elif by_membership:
        unit = atom
    else:
        unit = np.arange(request.n_rows)
    together = request.groups is not None or by_membership

    def make(rows: Array) -> TrainingSet:
        own = unit
        if len(np.unique(own[rows])) < 2:
            own = np.arange(request.n_rows)
        labels, inverse = np.unique(own[rows], return_inverse=True)
        sides = np.zeros((5, request.n_rows), dtype=bool)
        drawn = _distinct(random_sides(len(labels), 5, request.rng))
        sides = sides[: len(drawn)]
        sides[:, rows] = drawn[:, inverse]
        shared = leave_one_unit_out(rows, atom) if together else None
        if request.inner_folds and not together:
            shared = _folds_inside(request, rows, own)
        if shared is not None and not shared:
            shared = halvings(rows, sides) or None
        return TrainingSet(rows, request.halvings(rows, sides), shared)

    return make


def _folds_inside(request: PlanRequest, rows: Array, unit: Array) -> list[Pair]:
    """Folds of units; the class of a unit is that of its first row."""
    labels, first, inverse = np.unique(
        unit[rows], return_index=True, return_inverse=True
    )
    strata = None if request.strata is None else request.strata[rows[first]]
    n_folds = min(_INNER_FOLDS, len(labels))
    fold = fold_labels(len(labels), n_folds, request.rng, strata)
    label = np.full(request.n_rows, -1)
    label[rows] = fold[inverse]
    return leave_one_unit_out(rows, label)


def cell_plan(rows: SummedRows, halves: bool) -> NestedPlan:
    """The plan of rows that are known by cells; its sets are sets of cells.

    As in the plan of many rows, shared strengths are chosen by the folds inside, or by
    halves where a training set is one fold.
    """
    cells = np.arange(len(rows.fold))

    def make(inside: Array) -> TrainingSet:
        own = halvings(inside, rows.sides)
        shared = leave_one_unit_out(inside, rows.fold) or own
        return TrainingSet(inside, own if halves else [], shared)

    pairs = leave_one_unit_out(cells, rows.fold)
    outer, held_out = [make(a) for a, _ in pairs], [b for _, b in pairs]
    return NestedPlan(make(cells), outer, held_out, None, cells)


def _distinct(sides: Array) -> Array:
    """Halvings that differ, a halving and its mirror image being the same."""
    same = np.where(sides[:, :1], ~sides, sides)
    _, first = np.unique(same, axis=0, return_index=True)
    return np.asarray(sides[np.sort(first)])


def repeated(splitter: Any, rng: np.random.Generator) -> Any | None:
    """The splitter with another seed, None where it takes none."""
    shuffles = getattr(splitter, "shuffle", hasattr(splitter, "random_state"))
    if not shuffles or not hasattr(splitter, "random_state"):
        return None
    other = copy.copy(splitter)
    other.random_state = int(rng.integers(2**31 - 1))
    return other


# Share of a training set on which its strengths are tuned.
_HOLDOUT = 0.25
# Where no splits are given, outer folds are scored until they hold out so many rows.
_SCORED_ROWS = 5000
# With more stored values of X than this the first outer fold alone is scored.
_ONE_FOLD_FROM = 100_000_000


def large_plan(
    plan: NestedPlan,
    request: PlanRequest,
    given: bool,
    by_membership: bool,
    n_values: int,
) -> NestedPlan:
    """The outer folds of ``plan``, each with one inner hold-out instead of halvings.

    Every training set holds out a share of its units (rows, groups, or sets of rows
    that given splits keep together), or the end of its time.

    Parameters
    ----------
    plan : NestedPlan
        What would be done without a budget.
    request : PlanRequest
        Rows, groups and the generator that draws the hold-outs.
    given : bool
        Whether the user gave splits: all of them are scored.
    by_membership : bool
        Whether splits were given row by row.
    n_values : int
        Number of values that X stores.
    """
    unit = plan.cluster
    if by_membership and request.groups is None:
        pairs = [(s.rows, b) for s, b in zip(plan.outer, plan.held_out, strict=True)]
        unit = membership_atoms(request.n_rows, pairs)

    def make(s: TrainingSet) -> TrainingSet:
        if s.shared and s.halves and all(a.max() < b.min() for a, b in s.halves):
            return TrainingSet(s.rows, list(s.halves[-1:]), None)
        own = unit[s.rows]
        if len(np.unique(own)) < 2:
            own = s.rows
        labels = np.unique(own)
        if len(labels) < 2:
            return TrainingSet(s.rows, (), None)
        size = max(1, round(_HOLDOUT * len(labels)))
        valid = np.isin(own, request.rng.permutation(labels)[:size])
        return TrainingSet(s.rows, [(s.rows[~valid], s.rows[valid])], None)

    k = len(plan.outer)
    if not given:
        scored = np.cumsum([len(held_out) for held_out in plan.held_out])
        k = min(k, 1 + int(np.searchsorted(scored, _SCORED_ROWS)))
    if n_values > _ONE_FOLD_FROM:
        k = 1
    return NestedPlan(
        make(plan.full),
        [make(s) for s in plan.outer[:k]],
        plan.held_out[:k],
        None,
        plan.cluster,
    )
