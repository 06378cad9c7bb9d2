"""One shared strength: errors by explicit fits, and which value is chosen."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems._spectrum import (
    Spectrum,
    base_leverage,
    choose_shared,
    refine_minimum,
)

SETTINGS = [
    {},
    {"intercept": False},
    {"free": (1, 4)},
    {"weighted": True, "t": 2},
    {"weighted": True, "t": 2, "free": (0, 2)},
]
GRID = np.array([-6.0, -2.0, 0.0, 3.0])


def spectrum_of(rows, tol=1e-9):
    """From a singular value decomposition of swept, root-weighted rows."""
    z, m, p = rows.dense(np.arange(rows.n_rows)), rows.n_free, rows.n_penalized
    z = np.sqrt(rows.weight)[:, None] * z
    free = z[:, :m]
    if m:
        z = z - free @ np.linalg.lstsq(free, z, rcond=None)[0]
    X, y = z[:, m : m + p], z[:, m + p :]
    U, size, _ = np.linalg.svd(X, full_matrices=False)
    U, size = U[:, size > tol], size[size > tol]
    weight = float(rows.weight.sum())
    yy = float((y**2).sum())
    return Spectrum(size**2, U.T @ y, U, y, base_leverage(free), yy, weight, m)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("shape", [(18, 7), (12, 20)])
def test_leave_one_out_is_n_fits(make_rows, explicit_ridge, shape, setting):
    rows = make_rows(*shape, **setting)
    found = spectrum_of(rows).leave_one_out(GRID)
    for k, log_c in enumerate(GRID):
        v = np.full(rows.n_penalized, np.exp(log_c))
        for i in range(rows.n_rows):
            others = np.delete(np.arange(rows.n_rows), i)
            coef = explicit_ridge(rows, others, v)
            error = rows.targets([i]) - rows.predict(np.array([i]), coef)
            expected = rows.weight[i] * (error**2).sum()
            assert_allclose(found[i, k], expected, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("setting", SETTINGS)
def test_gcv_is_its_definition(make_rows, setting):
    rows = make_rows(18, 7, **setting)
    n = rows.weight.sum()
    z = np.sqrt(rows.weight)[:, None] * rows.dense(np.arange(18))
    m, p = rows.n_free, rows.n_penalized
    found = spectrum_of(rows).gcv(GRID)
    for k, log_c in enumerate(GRID):
        A = z[:, : m + p]
        penalty = np.diag(np.r_[np.zeros(m), np.full(p, np.exp(-log_c))])
        hat = A @ np.linalg.solve(A.T @ A + penalty, A.T)
        rest = z[:, m + p :] - hat @ z[:, m + p :]
        freedom = n - np.trace(hat)
        assert_allclose(found[k], n * (rest**2).sum() / freedom**2, rtol=1e-8)


def test_gcv_counts_weights_as_repetitions(make_rows):
    rows = make_rows(20, 5)
    times = np.arange(20) % 3
    index = np.repeat(np.arange(20), times)
    a = spectrum_of(replace(rows, weight=times.astype(float)))
    b = spectrum_of(
        replace(rows, X=rows.X[index], y=rows.y[index], weight=np.ones(len(index)))
    )
    assert_allclose(a.gcv(GRID), b.gcv(GRID), rtol=1e-9)


def test_a_row_that_determines_a_coefficient_alone(make_rows):
    rows = make_rows(12, 3, free=(0,))
    X = rows.X.copy()
    X[:, 0] = np.eye(12)[4]
    loss = spectrum_of(replace(rows, X=X)).leave_one_out(GRID)
    assert np.isfinite(loss).all()


def test_base_leverage_of_collinear_columns():
    rng = np.random.default_rng(0)
    free = np.ones((10, 3))
    free[:, 1] = rng.standard_normal(10)
    free[:, 2] = free[:, 0] + free[:, 1]
    hat = free @ np.linalg.pinv(free)
    assert_allclose(base_leverage(free), np.diag(hat), rtol=1e-9)


def losses(mean, spread=0.0, m=50):
    """Losses (m, c) of rows with the given mean curve and paired noise."""
    noise = np.random.default_rng(0).standard_normal((m, 1))
    noise = (noise - noise.mean()) / noise.std()
    return np.asarray(mean)[None] + spread * noise * np.arange(len(mean))


def test_the_vertex_where_nothing_is_noise():
    grid = np.arange(-5.0, 5.5, 0.5)
    log_c, edge = choose_shared(grid, losses(1 + 0.1 * (grid - 1.2) ** 2), np.ones(50))
    assert edge == 0
    assert_allclose(log_c, 1.2, atol=1e-9)


def test_noise_moves_the_choice_to_more_regularization():
    grid = np.arange(-5.0, 5.5, 0.5)
    loss = losses(1 + 0.001 * (grid - 1.2) ** 2, spread=0.05)
    log_c, _ = choose_shared(grid, loss, np.ones(50))
    assert log_c < 1.0


def test_edges():
    grid = np.arange(-5.0, 5.5, 0.5)
    rising, falling = 1 + np.exp(grid), 1 + np.exp(-grid)
    assert choose_shared(grid, losses(rising), np.ones(50)) == (-5.0, -1)
    assert choose_shared(grid, losses(falling), np.ones(50)) == (5.0, 1)
    assert refine_minimum(grid, rising) == (-5.0, -1)
    assert refine_minimum(grid, falling) == (5.0, 1)
    flat = np.ones_like(grid)
    assert choose_shared(grid, losses(flat), np.ones(50)) == (-5.0, 0)


def test_choice_by_weight_is_choice_by_repetition():
    rng = np.random.default_rng(1)
    grid = np.arange(-5.0, 5.5, 0.5)
    row = (1 + 0.01 * (grid - 2.0) ** 2) * rng.uniform(0.1, 5, (30, 1))
    row = row + rng.standard_normal((30, 1)) * 0.05 * grid
    times = rng.integers(0, 4, 30)
    index = np.repeat(np.arange(30), times)
    # A weighted row comes with its weighted loss.
    a = choose_shared(grid, row * times[:, None], times.astype(float))
    b = choose_shared(grid, row[index], np.ones(len(index)))
    assert_allclose(a[0], b[0], rtol=1e-9)
