"""Moments of rows: sums over cells, sweeping, weights as repetition."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbilevel.problems._moments import (
    CellMoments,
    RowMoments,
    scaled,
    sweep,
    sweep_map,
    unit_metric,
)

SETTINGS = [
    {},
    {"intercept": False},
    {"free": (1, 4)},
    {"free": (0,), "intercept": False},
    {"weighted": True, "t": 2},
    {"sparse_X": True, "free": (2,), "weighted": True, "t": 2},
]


def direct(rows, index):
    z = rows.dense(index) if not hasattr(rows.X, "toarray") else densified(rows, index)
    return z.T @ (rows.weight[index, None] * z)


def densified(rows, index):
    return replace(rows, X=rows.X.toarray()).dense(index)


def swept_by_lstsq(rows, train, index):
    """Rows minus what least squares on the unpenalized columns of train predicts."""
    plain = replace(rows, X=rows.X.toarray()) if hasattr(rows.X, "toarray") else rows
    root = np.sqrt(rows.weight[train])[:, None]
    z, m = plain.dense(train), rows.n_free
    coef = np.linalg.lstsq(root * z[:, :m], root * z[:, m:], rcond=None)[0]
    z = plain.dense(index)
    return z[:, m:] - z[:, :m] @ coef


@pytest.mark.parametrize("setting", SETTINGS)
def test_moment_is_the_product_of_rows(make_rows, setting):
    rows = make_rows(30, 6, **setting)
    index = np.random.default_rng(1).permutation(30)[:20]
    assert_allclose(rows.moment(index), direct(rows, index), rtol=1e-12, atol=1e-12)


def test_moment_in_blocks(make_rows):
    """Of 256 rows, where columns are many."""
    rows, index = make_rows(700, 1100, weighted=True), np.arange(700)
    assert_allclose(rows.moment(index), direct(rows, index), rtol=1e-12, atol=1e-12)


def test_shift_is_subtracted(make_rows):
    rows = make_rows(20, 3, t=2)
    shifted = replace(rows, shift=np.array([5.0, 0.0, -2.0]), y_shift=np.ones(2))
    by_hand = replace(rows, X=rows.X - shifted.shift, y=rows.y - 1.0)
    assert_allclose(shifted.moment(np.arange(20)), by_hand.moment(np.arange(20)))
    coef = np.arange(8.0).reshape(4, 2)
    expected = by_hand.predict(np.arange(20), coef)
    assert_allclose(shifted.predict(np.arange(20), coef), expected)


@pytest.mark.parametrize("sparse_X", [False, True])
def test_weight_is_repetition(make_rows, sparse_X):
    rows = make_rows(25, 4, sparse_X=sparse_X)
    times = np.arange(25) % 4
    index = np.repeat(np.arange(25), times)
    weighted = replace(rows, weight=times.astype(float))
    repeated = replace(
        rows, X=rows.X[index], y=rows.y[index], weight=np.ones(len(index))
    )
    a, b = weighted.moment(np.arange(25)), repeated.moment(np.arange(len(index)))
    assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_cells_sum_to_any_union(make_rows):
    rows = make_rows(40, 5, weighted=True)
    cell = np.random.default_rng(0).integers(-1, 6, 40)
    sets = [np.flatnonzero(np.isin(cell, take)) for take in ([0], [1, 4, 5], [2, 3])]
    cells = CellMoments.of(rows, cell).sums(sets)
    assert_allclose(cells, RowMoments(rows).sums(sets), rtol=1e-12, atol=1e-12)


def test_no_digit_of_other_cells(make_rows):
    rows = make_rows(40, 5)
    cell = np.arange(40) % 4
    inside = np.flatnonzero(cell < 3)
    X = rows.X.copy()
    X[cell == 3] = 1e150
    other = replace(rows, X=X)
    a = CellMoments.of(rows, cell).sums([inside])
    with np.errstate(over="ignore"):
        b = CellMoments.of(other, cell).sums([inside])
    assert_array_equal(a, b)


@pytest.mark.parametrize("setting", SETTINGS)
def test_sweep_is_lstsq(make_rows, setting):
    rows = make_rows(40, 6, **setting)
    train, valid = np.arange(25), np.arange(25, 40)
    m, p = rows.n_free, rows.n_penalized
    free = sweep_map(rows.moment(train), m)
    for index in (train, valid):
        z = swept_by_lstsq(rows, train, index)
        expected = z.T @ (rows.weight[index, None] * z)
        weight = rows.weight[index].sum()
        swept = sweep(rows.moment(index), m, p, weight, free)
        assert_allclose(swept.gram, expected[:p, :p], rtol=1e-9, atol=1e-10)
        assert_allclose(swept.cross, expected[:p, p:], rtol=1e-9, atol=1e-10)
        assert_allclose(swept.yy, np.diag(expected[p:, p:]), rtol=1e-9)


def test_collinear_free_columns(make_rows):
    rows = make_rows(30, 5, free=(0, 1))
    X = rows.X.copy()
    X[:, 1] = 2.0 * X[:, 0] + 1.0
    rows = replace(rows, X=X)
    train = np.arange(30)
    moment = rows.moment(train)
    swept = sweep(moment, 3, 3, 30.0, sweep_map(moment, 3))
    z = swept_by_lstsq(rows, train, train)
    assert_allclose(swept.gram, z[:, :3].T @ z[:, :3], rtol=1e-8, atol=1e-8)


def test_scaled_columns_have_unit_variance(make_rows):
    rows = make_rows(50, 4, weighted=True)
    X = rows.X * np.array([1e-3, 1.0, 1e6, 0.0])
    rows = replace(rows, X=X)
    moment = rows.moment(np.arange(50))
    weight = rows.weight.sum()
    swept = sweep(moment, 1, 4, weight, sweep_map(moment, 1))
    metric = unit_metric(np.diag(swept.gram), weight)
    assert_allclose(np.diag(scaled(swept, metric).gram)[:3], weight, rtol=1e-9)
    assert metric[3] == 1.0
