"""Releases: sensitivities by brute force, sizes of noise, and where it is drawn."""

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import skbilevel
from skbilevel.privacy._bounds import Box, row_norms, shrunk, working_rows
from skbilevel.privacy._noise import SystemRandomness, randomness
from skbilevel.privacy._releases import (
    CoordinateRows,
    PrivateRows,
    column_sensitivity,
    mean_sensitivity,
    moment_sensitivity,
    square_sensitivity,
)
from skbilevel.problems import LogisticLoss, SquaredLoss

RNG = np.random.default_rng(0)
N, P = 40, 3


def rows_of(X, y=None, norm=1.0, seed=0):
    y = np.zeros(X.shape[0]) if y is None else y
    return PrivateRows(X, y, norm, randomness(seed))


def extreme_rows(size, norm):
    """Rows at every corner of a box, and random ones, no longer than ``norm``."""
    corners = np.array(np.meshgrid(*[[-1.0, 0.0, 1.0]] * P)).reshape(P, -1).T
    random = RNG.uniform(-1.0, 1.0, (size, P))
    return shrunk(np.vstack([corners, random]), norm)


@pytest.mark.parametrize("norm", [0.7, 1.2, np.sqrt(P)])
def test_columns_change_no_more_than_their_sensitivity(norm):
    rows = extreme_rows(30, norm)
    both = np.hstack([rows, rows**2])
    largest = np.sqrt(((both[:, None] - both[None]) ** 2).sum(axis=-1)).max()
    bound = column_sensitivity(P, norm)
    assert largest <= bound
    squares = rows**2
    largest_square = ((squares[:, None] - squares[None]) ** 2).sum(axis=-1).max()
    assert largest_square <= square_sensitivity(P, norm) ** 2 + 1e-12
    if norm == np.sqrt(P):
        assert largest == pytest.approx(bound)  # opposite corners


def test_the_constant_of_pairs_of_columns():
    a, b = np.meshgrid(np.linspace(-1, 1, 401), np.linspace(-1, 1, 401))
    top, size = (a - b) ** 2 * (1 + (a + b) ** 2), a**2 + b**2
    largest = (top[size > 0] / size[size > 0]).max()
    assert 0.999 * 2.3116 < largest <= 2.3116


def test_second_moments_change_no_more_than_their_sensitivity():
    rows = extreme_rows(30, 1.3)
    outer = rows[:, :, None] * rows[:, None]
    change = outer[:, None] - outer[None]
    largest = np.sqrt((change**2).sum(axis=(-1, -2))).max()
    assert 0.9 * moment_sensitivity(1.3) < largest <= moment_sensitivity(1.3)


@pytest.mark.parametrize("loss", [SquaredLoss(), LogisticLoss()])
def test_gradients_change_no_more_than_their_sensitivity(loss):
    w, clip = np.array([2.0, -1.0, 0.5]), 0.4
    X = extreme_rows(20, 1.3)
    y = (np.arange(len(X)) % 2).astype(float)
    each = [
        rows_of(X[i : i + 1], y[i : i + 1], 1.3).gradient(loss, w, clip, 0.0)
        for i in range(len(X))
    ]
    change = np.array(each)[:, None] - np.array(each)[None]
    largest = np.sqrt((change**2).sum(axis=-1)).max()
    assert 0.9 * mean_sensitivity(clip, 1) < largest <= mean_sensitivity(clip, 1)


def test_clipped_gradients_belong_to_a_convex_loss():
    # What makes the bound on the last iterate sound: they are monotone.
    X, y = RNG.standard_normal((N, P)), RNG.integers(0, 2, N).astype(float)
    rows = rows_of(X, y, 5.0)
    for _ in range(50):
        a, b = RNG.standard_normal((2, P))
        ga, gb = (rows.gradient(LogisticLoss(), w, 0.2, 0.0) for w in (a, b))
        assert (ga - gb) @ (a - b) >= 0.0
        smooth = 0.25 * (row_norms(X) ** 2).mean()
        assert np.linalg.norm(ga - gb) <= smooth * np.linalg.norm(a - b) + 1e-12


def test_noise_has_the_size_that_is_written_down():
    X, y = shrunk(RNG.uniform(-1, 1, (N, P)), 1.0), RNG.uniform(-1, 1, N)
    rows, exact = rows_of(X, y), rows_of(X, y)
    many = range(4000)
    grads = [rows.gradient(SquaredLoss(), np.zeros(P), 0.3, 5.0) for _ in many]
    error = np.array(grads) - exact.gradient(SquaredLoss(), np.zeros(P), 0.3, 0.0)
    release = rows.gradient_release(0.3, 5.0, 7)
    assert release.mu == pytest.approx(np.sqrt(7) / 5.0)
    assert error.std(axis=0) == pytest.approx(5.0 * release.sensitivity, rel=0.05)
    assert abs(error.mean(axis=0)).max() < 5.0 * release.sensitivity / 10

    moments, release = zip(
        *[rows.second_moments(0.7, y, 3.0) for _ in many], strict=True
    )
    free, _ = exact.second_moments(0.7, y, 0.0)
    size = 3.0 * release[0].sensitivity
    gram = np.array([m.gram for m in moments]) - free.gram
    assert gram[:, 1, 1].std() == pytest.approx(size, rel=0.05)
    assert gram[:, 0, 1].std() == pytest.approx(size / np.sqrt(2), rel=0.05)
    assert np.array_equal(gram, np.swapaxes(gram, 1, 2))
    cross = np.array([m.cross for m in moments]) - free.cross
    assert cross.std() == pytest.approx(moments[0].cross_noise, rel=0.05)
    assert moments[0].noise == pytest.approx(size)
    assert np.allclose(free.gram, X.T @ X)
    assert np.allclose(free.cross, X.T @ y)
    assert free.yy == pytest.approx(y @ y)

    means = np.array([rows.column_moments(2.0)[0] for _ in many]) - X.mean(axis=0)
    *_, sd, release = rows.column_moments(2.0)
    assert means.std() == pytest.approx(sd, rel=0.05)
    assert sd == pytest.approx(2.0 * release.sensitivity)


def test_batches_are_poisson_and_unbiased():
    X, y = shrunk(RNG.uniform(-1, 1, (N, P)), 1.0), RNG.uniform(-1, 1, N)
    rows, w = rows_of(X, y), np.array([0.3, -0.2, 0.1])
    draws = [rows.gradient(SquaredLoss(), w, 9.0, 0.0, 0.3) for _ in range(4000)]
    full = rows.gradient(SquaredLoss(), w, 9.0, 0.0)
    assert np.mean(draws, axis=0) == pytest.approx(full, abs=0.01)
    # The variance of independent inclusion, not that of batches of a fixed size.
    each = (X @ w - y)[:, None] * X
    expected = np.sqrt((0.7 / 0.3) * (each**2).sum(axis=0)) / N
    assert np.std(draws, axis=0) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_coordinates_are_those_of_the_gradient(form):
    X, y = RNG.uniform(-1, 1, (N, P)) * (RNG.random((N, P)) < 0.6), RNG.random(N)
    w = np.array([0.4, 0.0, -1.0])
    rows = rows_of(form(X), y, 2.0)
    moving = CoordinateRows(rows, w)
    moving.move(1, 0.7)
    w[1] += 0.7
    grad = rows.gradient(LogisticLoss(), w, np.inf, 0.0)
    found = [moving.partial(LogisticLoss(), j, np.inf, 0.0) for j in range(P)]
    assert found == pytest.approx(grad)
    clipped = moving.partial(LogisticLoss(), 0, 0.01, 0.0)
    each = LogisticLoss().grad(X @ w, y) * X[:, 0]
    assert clipped == pytest.approx(np.clip(each, -0.01, 0.01).mean())


def test_sparse_rows_are_dense_rows():
    X, y = RNG.uniform(-1, 1, (N, P)) * (RNG.random((N, P)) < 0.5), RNG.random(N)
    box = Box(np.full(P, -0.5), np.array([1.0, 0.5, 2.0]), False)
    dense, thin = box.units(X), box.units(sparse.csr_array(X))
    assert np.allclose(dense, thin.toarray())
    assert np.allclose(shrunk(dense, 0.6), shrunk(thin, 0.6).toarray())
    made = [
        working_rows(Z, np.zeros(P), np.arange(1.0, 4), True) for Z in (dense, thin)
    ]
    assert np.allclose(made[0], made[1].toarray())
    first, second = (
        rows_of(Z, y, 2.0).second_moments(0.5, y, 1.0)[0] for Z in (dense, thin)
    )
    assert np.allclose(first.gram, second.gram)
    assert np.allclose(
        rows_of(dense, y).column_moments(1.0)[:2],
        rows_of(thin, y).column_moments(1.0)[:2],
    )


def test_noise_of_the_operating_system_is_normal_and_never_the_same():
    system = SystemRandomness()
    drawn = system.normal((20_000,))
    assert abs(drawn.mean()) < 0.05
    assert drawn.std() == pytest.approx(1.0, abs=0.03)
    uniform = system.uniform((100, 7))
    assert uniform.shape == (100, 7)
    assert 0.0 < uniform.min() < uniform.max() < 1.0
    assert not np.array_equal(uniform, system.uniform((100, 7)))
    assert isinstance(randomness(None), SystemRandomness)


def test_one_file_draws():
    """Noise comes from `_noise.py`; an audit draws seeds of its own game only."""
    folder = Path(skbilevel.__file__).parent
    files = [*(folder / "privacy").glob("*.py")]
    files += (folder / "linear_model").glob("_dp_*.py")
    drawing = {"standard_normal", "default_rng", "urandom", "ndtri", "normal", "random"}
    found = {}
    for path in files:
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        if hits := names & drawing:
            found[path.name] = hits
    # Quantiles, and calls of what the first file offers.
    assert found.pop("_strengths.py") == {"ndtri"}
    assert found.pop("_releases.py") == {"normal"}
    assert set(found) == {"_noise.py", "_audit.py"}
