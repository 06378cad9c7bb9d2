"""Data hyper-cleaning on MNIST, as a problem of its own: numpy oracles by rows."""

from functools import cache
from time import perf_counter
from typing import Any

import numpy as np
from _data import loader
from scipy import special

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers.stochastic import SABA, SOBA, AmigoSGD

CLASSES, PENALTY = 10, 0.2


@cache
def digits() -> Any:
    """Return MNIST once for all shares: X as it is stored, labels, facts."""
    return loader().load("mnist")


class HyperCleaning:
    """One weight per training row, tuned on trusted rows.

    ::

        g(theta, w) = mean_i sigmoid(theta_i) loss(x_i, y_i; w) + 0.2 |w|^2
        f(w)        = mean_j loss(x'_j, y'_j; w)

    with the softmax loss of a matrix w (784, 10). Labels of a share of the training
    rows are replaced by any of the ten at random.

    Parameters
    ----------
    corrupted : float
        That share.
    sizes : tuple of int
        Training, trusted and test rows.
    """

    def __init__(self, corrupted: float, sizes: tuple[int, int, int], seed: int = 0):
        rng = np.random.default_rng(seed)
        X, y, info = digits()
        n, m, k = sizes
        chosen = rng.permutation(np.flatnonzero(~info["is_test"]))[: n + m]
        test = rng.permutation(np.flatnonzero(info["is_test"]))[:k]
        self.X, self.Xv, self.Xt = (
            X[rows] / 255.0 for rows in (chosen[:n], chosen[n:], test)
        )
        labels = y[chosen[:n]].astype(int)
        bad = rng.random(n) < corrupted
        labels[bad] = rng.integers(0, CLASSES, bad.sum())
        eye = np.eye(CLASSES)
        self.Y, self.Yv = eye[labels], eye[y[chosen[n:]].astype(int)]
        self.yt = y[test].astype(int)
        top = np.linalg.norm(self.X.T @ self.X / n, 2)
        self._bound = 0.5 * float(top) + 2.0 * PENALTY
        self.clean = labels == y[chosen[:n]].astype(int)
        self.errors: list[float] = []

    def problem(self) -> OracleProblem:
        """Return it as oracles; ``value`` outside notes the test error at w."""
        n, m = len(self.X), len(self.Xv)
        inner = InnerOracles(
            self._value, self._grad, self._hvp, self._cross, n, lambda x: self._bound
        )
        outer = OuterOracles(self._outer, self._outer_grad, None, m)
        w0 = np.zeros(self.X.shape[1] * CLASSES)
        return OracleProblem(inner, outer, w0, np.zeros(n), (-12.0, 12.0))

    def error(self, w: np.ndarray) -> float:
        """Return the share of test rows that are told wrongly."""
        scores = self.Xt @ w.reshape(-1, CLASSES)
        return float(np.mean(scores.argmax(axis=1) != self.yt))

    def trained(self, X: Any, Y: Any, weight: Any = 1.0, steps: int = 150) -> float:
        """Return the test error of a model on some rows, with weights."""
        scale = np.broadcast_to(weight, len(X))[:, None] / len(X)
        w = np.zeros((X.shape[1], CLASSES))
        momentum, before = w, w
        for k in range(steps):  # Nesterov's method
            residual = special.softmax(X @ momentum, axis=1) - Y
            grad = X.T @ (scale * residual) + 2.0 * PENALTY * momentum
            w = momentum - grad / self._bound
            momentum, before = w + k / (k + 3.0) * (w - before), w
        return self.error(w)

    def _rows(self, x: Any, w: Any, rows: Any) -> tuple[Any, ...]:
        X, Y = (self.X, self.Y) if rows is None else (self.X[rows], self.Y[rows])
        weight = special.expit(x if rows is None else x[rows])[:, None]
        P = special.softmax(X @ w.reshape(-1, CLASSES), axis=1)
        return X, Y, P, weight

    def _value(self, x: Any, w: Any, rows: Any = None) -> float:
        _, Y, P, weight = self._rows(x, w, rows)
        losses = -np.log((Y * P).sum(axis=1, keepdims=True))
        return float(np.mean(weight * losses) + PENALTY * w @ w)

    def _grad(self, x: Any, w: Any, rows: Any = None) -> np.ndarray:
        X, Y, P, weight = self._rows(x, w, rows)
        return (X.T @ (weight * (P - Y)) / len(X)).ravel() + 2.0 * PENALTY * w

    def _hvp(self, x: Any, w: Any, d: Any, rows: Any = None) -> np.ndarray:
        X, _, P, weight = self._rows(x, w, rows)
        PD = P * (X @ d.reshape(-1, CLASSES))
        PD -= P * PD.sum(axis=1, keepdims=True)
        return (X.T @ (weight * PD) / len(X)).ravel() + 2.0 * PENALTY * d

    def _cross(self, x: Any, w: Any, d: Any, rows: Any = None) -> np.ndarray:
        X, Y, P, weight = self._rows(x, w, rows)
        along = ((P - Y) * (X @ d.reshape(-1, CLASSES))).sum(axis=1)
        out = np.zeros(len(x))
        each = (weight * (1.0 - weight))[:, 0] * along / len(X)
        out[slice(None) if rows is None else rows] = each
        return out

    def _outer(self, x: Any, w: Any, rows: Any = None) -> float:
        scores = self.Xv @ w.reshape(-1, CLASSES)
        self.errors.append(self.error(w))
        return float(
            np.mean(special.logsumexp(scores, axis=1) - (self.Yv * scores).sum(1))
        )

    def _outer_grad(self, x: Any, w: Any, rows: Any = None) -> np.ndarray:
        X, Y = (self.Xv, self.Yv) if rows is None else (self.Xv[rows], self.Yv[rows])
        P = special.softmax(X @ w.reshape(-1, CLASSES), axis=1)
        return (X.T @ (P - Y) / len(X)).ravel()


def run(
    corrupted: float, passes: float, sizes: tuple[int, int, int], seeds: int
) -> dict[str, Any]:
    """Return medians of test errors against time, and the two baselines."""
    case = HyperCleaning(corrupted, sizes)
    found: dict[str, Any] = {
        "corrupted rows": case.trained(case.X, case.Y),
        "trusted rows": case.trained(case.Xv, case.Yv),
        "weights 1 and 0, known": case.trained(case.X, case.Y, case.clean),
        "rows with right labels": case.trained(case.X[case.clean], case.Y[case.clean]),
    }
    for kind in (SABA, SOBA, AmigoSGD):
        errors, seconds = [], []
        for seed in range(seeds):
            case.errors, began = [], perf_counter()
            result = kind(max_passes=passes, record_every=2.0).solve_oracles(
                case.problem(), np.zeros(len(case.X)), tol=0.0, random_state=seed
            )
            errors.append(case.errors)
            seconds.append(result.history["seconds"])
            print(kind.__name__, corrupted, errors[-1][-1], perf_counter() - began)
        found[kind.__name__] = {
            "error": np.median(errors, axis=0).tolist(),
            "seconds": np.median(seconds, axis=0).tolist(),
            "passes": result.history["passes"].tolist(),
        }
    return found
