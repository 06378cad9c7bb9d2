"""Ratios are minimized exactly along every coordinate, and never rise."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel.problems import (
    FourthPowers,
    GramColumns,
    LeastSquaresL1,
    SquaredNorm,
    TopK,
)
from skbilevel.solvers import RatioStatus, minimize_ratio
from skbilevel.solvers._ratio import _Ratio


def at(lines, t):
    """Values of lines at t of shape (m, c)."""
    piece = (lines.breaks[:, None, :] < t[:, :, None]).sum(axis=-1)
    rows = np.arange(len(t))[:, None]
    return sum(c[rows, piece] * t**d for d, c in enumerate(lines.coef))


RNG = np.random.default_rng(0)
G = RNG.standard_normal((12, 6)) * (RNG.random((12, 6)) < 0.7)
X = RNG.standard_normal((20, 8))
Y = X[:, :2] @ [1.0, -2.0] + 0.3 * RNG.standard_normal(20)
ALPHA, K = 1.5, 3


def tails():
    """Independent components: values by hand beside the parts."""
    return (
        SquaredNorm(),
        FourthPowers(G),
        lambda x: x @ x / (((G @ x) ** 4).sum() ** 0.5),
    )


def selection(k=K, X=X):
    """Least squares with the ratio of norms."""
    part = LeastSquaresL1(GramColumns(X), X.T @ Y, Y @ Y, ALPHA)

    def value(x):
        size = np.sort(np.abs(x))[::-1]
        above = 0.5 * ((X @ x - Y) ** 2).sum() + ALPHA * size.sum()
        return above / (ALPHA * size[:k].sum())

    return part, TopK(k, ALPHA), value


CASES = {"tails": tails, "selection": selection}
STARTS = {
    "dense": lambda p: RNG.standard_normal(p),
    "one": lambda p: np.eye(p)[1],
    "ties": lambda p: np.sign(RNG.standard_normal(p)),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("case", CASES)
def test_lines_are_the_parts_along_coordinates(case, start):
    num, den, _ = CASES[case]()
    p = G.shape[1] if case == "tails" else X.shape[1]
    x, t = STARTS[start](p), np.linspace(-3.0, 3.0, 41)
    for part in (num, den):
        lines = at(part.at(x).along(np.arange(p)), np.tile(t, (p, 1)))
        for i in range(p):
            each = [part.at(x + s * np.eye(p)[i]).value for s in t]
            np.testing.assert_allclose(lines[i], each, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("case", "solver"), [("tails", "fcd"), ("selection", "fcd"), ("selection", "pcd")]
)
def test_a_step_is_the_minimum_over_a_fine_grid(case, solver, start):
    num, den, value = CASES[case]()
    p = G.shape[1] if case == "tails" else X.shape[1]
    x = STARTS[start](p)
    t, after = _Ratio(num, den, solver, 0.0).at(x).steps(np.arange(p))
    grid = np.concatenate([np.linspace(-20, 20, 4001), -x])
    for i in range(p):
        e = np.eye(p)[i]
        np.testing.assert_allclose(after[i], value(x + t[i] * e), rtol=1e-7)
        lines = [p_.at(x).along(np.array([i])) for p_ in (num, den)]
        A, B = (at(line, grid[None])[0] for line in lines)
        keep = B > 1e-6 * den.at(x).value
        if solver == "fcd":
            lowest = (A[keep] / B[keep] ** den.power).min()
            assert after[i] <= lowest * (1 + 1e-8)
        else:
            c = value(x)
            mine = num.at(x + t[i] * e).value - c * den.at(x + t[i] * e).value
            assert mine <= (A - c * B)[keep].min() + 1e-9 * abs(c)


@pytest.mark.parametrize("rule", ["cyclic", "greedy"])
@pytest.mark.parametrize("solver", ["fcd", "pcd"])
@pytest.mark.parametrize("proximal", [0.0, 1e-3])
def test_the_ratio_never_rises_and_the_end_is_stationary(solver, rule, proximal):
    num, den, value = selection()
    x0 = RNG.standard_normal(X.shape[1])
    result = minimize_ratio(num, den, x0, solver=solver, rule=rule, proximal=proximal)
    assert (np.diff(result.history) <= 0).all()
    assert result.history[0] == pytest.approx(value(x0))
    assert result.value == pytest.approx(value(result.x))
    assert result.status in (RatioStatus.COORDINATE, RatioStatus.PROXIMAL)
    if not proximal:
        assert result.status is RatioStatus.COORDINATE
    if result.status is RatioStatus.COORDINATE:
        for i in range(len(x0)):
            e = np.eye(len(x0))[i]
            near = [value(result.x + t * e) for t in (-1e-3, 1e-3, 0.5)]
            assert min(near) >= result.value * (1 - 1e-8)


def test_the_ratio_of_tails_does_not_depend_on_length():
    num, den, _ = tails()
    x0 = RNG.standard_normal(6)
    one, three = (minimize_ratio(num, den, s * x0, max_iter=5) for s in (1.0, 3.0))
    np.testing.assert_allclose(one.history[:4], three.history[:4], rtol=1e-8)


def test_sparse_and_dense_maps_are_one():
    num, den, _ = tails()
    x0 = RNG.standard_normal(6)
    other = minimize_ratio(num, FourthPowers(sparse.csr_array(G)), x0)
    assert other.value == minimize_ratio(num, den, x0).value
    part, top, _ = selection()
    thin = LeastSquaresL1(GramColumns(sparse.csr_array(X)), X.T @ Y, Y @ Y, ALPHA)
    x0 = np.eye(8)[0]
    a = minimize_ratio(part, top, x0, solver="pcd")
    b = minimize_ratio(thin, top, x0, solver="pcd")
    np.testing.assert_allclose(a.x, b.x, atol=1e-10)


def test_many_steps_do_not_drift():
    """Products are made anew from time to time."""
    num = selection()[0]
    point = num.at(np.zeros(8))
    for step in range(1200):
        point = point.moved(step % 8, 0.1 * (-1) ** (step // 8))
    np.testing.assert_allclose(point.value, num.at(point.x).value, rtol=1e-12)


def test_a_column_twice_and_a_column_of_zeros():
    twice = np.column_stack([X[:, :4], X[:, :3], np.zeros(20)])
    num, den, value = selection(X=twice)
    result = minimize_ratio(num, den, np.eye(8)[0] + 0.1, solver="pcd")
    assert np.isfinite(result.x).all()
    assert result.value == pytest.approx(value(result.x))


def test_an_infimum_at_infinity_is_approached():
    """The heaviest tail is one variable alone: a direction, not a point on the line."""
    result = minimize_ratio(SquaredNorm(), FourthPowers(np.eye(4)), np.ones(4))
    assert result.value == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(result.x).all()


def test_sweeps_are_counted():
    num, den, _ = selection()
    result = minimize_ratio(num, den, RNG.standard_normal(8), max_iter=1)
    assert result.status is RatioStatus.MAX_ITER
    assert result.n_iter <= 8
    assert "max_iter" in result.message
    assert result.gap > 0


BAD = {
    "zero": ({"x0": np.zeros(8)}, "positive"),
    "nan": ({"x0": np.full(8, np.nan)}, "finite"),
    "matrix": ({"x0": np.ones((8, 1))}, "vector"),
    "solver": ({"solver": "dinkelbach"}, "'fcd' or 'pcd'"),
    "rule": ({"rule": "random"}, "'cyclic' or 'greedy'"),
    "proximal": ({"proximal": -1.0}, "proximal=-1.0"),
    "tol": ({"tol": -1.0}, "tol=-1.0"),
    "sweeps": ({"max_iter": 0}, "max_iter=0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    change, message = BAD[case]
    num, den, _ = selection()
    options = {"x0": np.ones(8), **change}
    with pytest.raises(ValueError, match=message):
        minimize_ratio(num, den, **options)


def test_bad_parts():
    num, den, _ = tails()
    with pytest.raises(ValueError, match="power 1, not"):
        minimize_ratio(num, den, np.ones(6), solver="pcd")
    with pytest.raises(ValueError, match="numerator"):
        minimize_ratio(den, num, np.ones(6))
    for k in (0, 8):
        with pytest.raises(ValueError, match=f"k={k}"):
            minimize_ratio(selection()[0], TopK(k), np.ones(8))
