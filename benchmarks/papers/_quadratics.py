"""A bilevel quadratic of which everything is known, in any dimensions."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, idct

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles


@dataclass(frozen=True)
class Quadratic:
    """Conditioning of the inner problem apart from that of the outer one.

    ::

        g(x, y) = 0.5 y.H y + y.H (U x + b),   f(x, y) = 0.5 x.A x + 0.5 |y - c|^2
        y(x) = -(U x + b),   F(x) = 0.5 x.A x + 0.5 |U x + b + c|^2

    U has orthonormal rows, eigenvalues of H lie between 1 / kappa and 1, those of A
    between 0.1 and 1: F has the same shape for every kappa.

    Parameters
    ----------
    kappa : float
        Condition number of the inner problem; its largest eigenvalue is one.
    n_outer, n_inner : int
        Dimensions of x and y.
    seed : int
        All draws.
    """

    kappa: float
    n_outer: int = 2000
    n_inner: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        d, p = self.n_outer, self.n_inner
        made = {
            "H": rng.permutation(np.logspace(-np.log10(self.kappa), 0, p)),
            "A": rng.permutation(np.logspace(-1, 0, d)),
            "signs": rng.choice([-1.0, 1.0], d),
            "rows": rng.permutation(d)[:p],
            "b": rng.standard_normal(p),
            "c": rng.standard_normal(p),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)
        push = np.stack([self.push(unit) for unit in np.eye(d)], axis=1)
        matrix = push.T @ push + np.diag(self.A)
        best = np.linalg.solve(matrix, -push.T @ (self.b + self.c))
        object.__setattr__(self, "best", best)

    def push(self, x: np.ndarray) -> np.ndarray:
        """Return ``U x``: signs, a cosine transform, some of its rows."""
        return dct(self.signs * x, norm="ortho")[self.rows]

    def pull(self, y: np.ndarray) -> np.ndarray:
        """Return ``U^T y``."""
        out = np.zeros(self.n_outer)
        out[self.rows] = y
        return self.signs * idct(out, norm="ortho")

    def gap(self, x: np.ndarray) -> float:
        """Return ``F(x) - F(best)``, without cancellation."""
        e = x - self.best
        return float(0.5 * e @ (self.A * e) + 0.5 * np.sum(self.push(e) ** 2))

    def problem(self) -> OracleProblem:
        """Return the oracles; the push of the last x is kept."""
        last = {"x": np.empty(0), "shift": np.empty(0)}

        def shift(x: np.ndarray) -> np.ndarray:
            if last["x"] is not x:
                last["x"], last["shift"] = x, self.push(x) + self.b
            return last["shift"]

        inner = InnerOracles(
            value=lambda x, y: float(y @ (self.H * (0.5 * y + shift(x)))),
            grad=lambda x, y: self.H * (y + shift(x)),
            hvp=lambda x, y, d: self.H * d,
            cross=lambda x, y, d: self.pull(self.H * d),
            smoothness=lambda x: 1.0,
        )
        outer = OuterOracles(
            value=lambda x, y: float(
                0.5 * x @ (self.A * x) + 0.5 * np.sum((y - self.c) ** 2)
            ),
            grad=lambda x, y: y - self.c,
            grad_theta=lambda x, y: self.A * x,
        )
        return OracleProblem(
            inner, outer, np.zeros(self.n_inner), np.zeros(self.n_outer)
        )
