"""A `DeviceArray` answers as the array of NumPy in its place does."""

import numpy as np
import pytest
from scipy import special

from skbilevel._device import Device
from skbilevel._device_array import DeviceArray, in_double
from skbilevel.problems import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    SquaredLoss,
    TweedieLoss,
    as_design,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((17, 5))
ROWS = RNG.standard_normal(17)
W = RNG.standard_normal((5, 3))


class OfFour(Device):
    """Takes four rows at a time."""

    def block_rows(self, width):
        return 4


@pytest.fixture(params=["double", "blocks", "single"])
def device(xp, request):
    """Return a device; rows of single precision X are made double in blocks of four."""
    kind = Device if request.param == "double" else OfFour
    return kind(xp, None, np.asarray, request.param != "single")


def put(device, values):
    return DeviceArray(device.put(values), device)


# What still has an entry for every row stays; what has been summed over them comes.
STAYS = {
    "product": lambda X: X @ W,
    "vector": lambda X: X @ W[:, 0],
    "from the left": lambda X: (W.T @ X.T).T,
    "arithmetic": lambda X: (2.0 * X - ROWS[:, None]) / (1.0 + X**2),
    "functions": lambda X: np.exp(-abs(X)) + np.log1p(X**2) + np.sqrt(np.square(X)),
    "special": lambda X: special.expit(X) + special.log_expit(3.0 * X),
    "xlogy": lambda X: special.xlogy(np.maximum(X, 0.0), np.maximum(X, 0.0)),
    "compared": lambda X: (X > 0.2) * X,
    "rows": lambda X: X[np.array([3, 3, -1])],
    "mask": lambda X: X[ROWS > 0],
    "slice": lambda X: X[2:100, 1:],
    "block": lambda X: X[np.ix_([1, 4], [0, 2])],
    "column": lambda X: X[:, 2],
    "new axis": lambda X: X[:, 2][:, None] * X,
    "ellipsis": lambda X: X[..., 1:3, :],
    "over columns": lambda X: X.sum(axis=1) + X.max(axis=-1) - X.mean(axis=1),
    "kept": lambda X: X - X.min(axis=1, keepdims=True),
    "beside": lambda X: np.hstack([np.ones((17, 1)), X]),
    "below": lambda X: np.concatenate([X, X]),
    "stacked": lambda X: np.stack([X[:, 0], X[:, 1]], axis=1),
    "where": lambda X: np.where(X > 0, X, ROWS[:, None]),
    "like": lambda X: np.zeros_like(X) + np.ones_like(X) + np.full_like(X, 2.0),
    "turned": lambda X: X.T[1:].T,
    "in place": lambda X: _in_place(X),
    "a stack": lambda X: _stack_of(X).reshape(6, 17) - _stack_of(X)[0, :1],
    "a stack, rows in the middle": lambda X: np.swapaxes(_stack_of(X), 1, 2) * W[0],
    "order": lambda X: np.multiply(X, ROWS[:, None], order="C"),
}
COMES = {
    "gram": lambda X: X.T @ X,
    "kernel": lambda X: X @ X.T,
    "pull": lambda X: X.T @ ROWS,
    "pulled": lambda X: ROWS @ X,
    "inner": lambda X: X[:, 0] @ X[:, 1],
    "row": lambda X: X[3],
    "sums": lambda X: X.sum(axis=0) + X.max(axis=0) + X.min(axis=0) + X.mean(axis=0),
    "total": lambda X: X.sum() + X.max() + X.min(),
    "any": lambda X: (X > 2.0).any(axis=0),
    "all": lambda X: (X < 9.0).all(),
    "into": lambda X: _into(X),
    "unknown function": lambda X: np.sort(X, axis=0),
    "unknown ufunc": lambda X: np.add.reduce(X, axis=0),
    "one by one": lambda X: X[[3, 1], [0, 2]],
    "rows apart": lambda X: _stack_of(X)[[0, 1, 1], :, [4, 4, 5]],
    "rows within": lambda X: _stack_of(X).reshape(2, 51),
    "in front": lambda X: np.concatenate([np.zeros((1, 5)), X]),
}


def _in_place(X):
    Z = X.copy()
    Z *= 2.0
    Z -= ROWS[:, None]
    return Z


def _stack_of(X):
    """Two problems of three classes, rows last."""
    three = (W[:, :3].T @ X.T)[None]
    return np.concatenate([three, 2.0 * three])


def _into(X):
    out = np.zeros((17, 5))
    np.subtract(X, 1.0, out=out)
    out += X
    return out


def tolerance(device):
    return 1e-12 if device.has_double else 2e-5


@pytest.mark.parametrize("name", STAYS)
def test_rows_stay(name, device):
    found, expected = STAYS[name](put(device, X)), STAYS[name](X)
    assert isinstance(found, DeviceArray)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.asarray(found), expected, atol=tolerance(device))


@pytest.mark.parametrize("name", COMES)
def test_sums_come(name, device):
    found, expected = COMES[name](put(device, X)), COMES[name](X)
    assert not isinstance(found, DeviceArray)
    np.testing.assert_allclose(found, expected, atol=20 * tolerance(device))
    if name in ("gram", "pull", "sums"):
        assert found.dtype == np.float64


def test_single_precision_is_summed_in_double(xp):
    # 2^24 + 1 is no number of single precision.
    many = np.ones((1 << 15, 2), dtype=np.float32)
    many[0] = 1 << 12
    single = DeviceArray(xp.asarray(many), Device(xp, None, np.asarray, False))
    expected = many.astype(np.float64).T @ many
    # Nothing but what is in the block of the large number can get lost beside it.
    assert abs(single.T @ single - expected).max() <= 4096
    assert abs(np.float32(1 << 24) - expected).min() > 4096
    assert np.asarray(in_double(single)).dtype == np.float32
    double = DeviceArray(xp.asarray(many), Device(xp, None, np.asarray))
    np.testing.assert_array_equal(double.T @ double, expected)


@pytest.mark.parametrize(
    "loss",
    [
        SquaredLoss(),
        LogisticLoss(),
        SoftmaxLoss(),
        PoissonLoss(),
        GammaLoss(),
        TweedieLoss(1.5),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_stay(loss, device):
    t = 3 if isinstance(loss, SoftmaxLoss) else 1
    eta = 3.0 * RNG.standard_normal((17, t))
    y = np.eye(3)[RNG.integers(0, 3, 17)] if t == 3 else abs(eta).round() + 1.0
    y = y % 2.0 if isinstance(loss, LogisticLoss) else y
    D, there, target = X[:, :t], put(device, eta), put(device, y)
    pairs = [
        (loss.value(there, target), loss.value(eta, y)),
        (loss.grad(there, target), loss.grad(eta, y)),
        (loss.curvature(there, target), loss.curvature(eta, y)),
        (
            loss.second_derivative(there, target)(put(device, D)),
            loss.second_derivative(eta, y)(D),
        ),
    ]
    for found, expected in pairs:
        assert isinstance(found, DeviceArray)
        np.testing.assert_allclose(
            np.asarray(found),
            expected,
            rtol=100 * tolerance(device),
            atol=100 * tolerance(device),
        )


def test_a_design(device):
    there, here = as_design(put(device, X)), as_design(X)
    tol = {"atol": 20 * tolerance(device)}
    np.testing.assert_allclose(there.matvec(W), here.matvec(W), **tol)
    R = RNG.standard_normal((17, 2))
    np.testing.assert_allclose(there.rmatvec(R), here.rmatvec(R), **tol)
    np.testing.assert_allclose(there.column_sums(ROWS), here.column_sums(ROWS), **tol)
    squares = there.column_squares(ROWS), here.column_squares(ROWS)
    np.testing.assert_allclose(*squares, **tol)
    v = np.arange(5.0)
    np.testing.assert_allclose(there.kernel(v), here.kernel(v), **tol)
    assert there.take_rows(np.arange(3)).shape == (3, 5)
