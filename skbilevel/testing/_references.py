"""Three small bilevel problems that every solver has to do well on."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    InnerOracles,
    LogisticLoss,
    OracleProblem,
    OuterOracles,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks


def reference_problems(seed: int = 0) -> dict[str, OracleProblem]:
    """The problems by name."""
    return {
        "quadratic": quadratic(seed),
        "ridge": tuning("ridge", seed),
        "logistic": tuning("logistic", seed),
    }


def quadratic(seed: int = 0, n: int = 60, p: int = 5, d: int = 3) -> OracleProblem:
    """Quadratic at both levels, means over rows, with all that a user can give.

    ::

        g = mean_i 0.5 (a_i.w - b_i.theta)^2 + 0.5 mu |w|^2
        f = mean_i 0.5 (c_i.w - y_i)^2 + 0.5 nu |theta|^2
    """
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((n, p)), rng.standard_normal((n, d))
    C, y = rng.standard_normal((n, p)), rng.standard_normal(n)
    mu, nu = 0.5, 0.01
    top = float(np.linalg.eigvalsh(A.T @ A / n)[-1])

    def some(M: Array, rows: Array | None) -> Array:
        return M if rows is None else M[rows]

    def pull(M: Array, rows: Array | None, r: Array) -> Array:
        return np.asarray(some(M, rows).T @ r / len(r))

    def inside(theta: Array, w: Array, rows: Array | None) -> Array:
        return np.asarray(some(A, rows) @ w - some(B, rows) @ theta)

    def outside(w: Array, rows: Array | None) -> Array:
        return np.asarray(some(C, rows) @ w - some(y, rows))

    inner = InnerOracles(
        value=lambda t, w, rows=None: (
            0.5 * (inside(t, w, rows) ** 2).mean() + 0.5 * mu * w @ w
        ),
        grad=lambda t, w, rows=None: pull(A, rows, inside(t, w, rows)) + mu * w,
        hvp=lambda t, w, d, rows=None: pull(A, rows, some(A, rows) @ d) + mu * d,
        cross=lambda t, w, d, rows=None: -pull(B, rows, some(A, rows) @ d),
        n_rows=n,
        smoothness=lambda t: top + mu,
        hessian=lambda t, w: A.T @ A / n + mu * np.eye(p),
    )
    outer = OuterOracles(
        value=lambda t, w, rows=None: (
            0.5 * (outside(w, rows) ** 2).mean() + 0.5 * nu * t @ t
        ),
        grad=lambda t, w, rows=None: pull(C, rows, outside(w, rows)),
        grad_theta=lambda t, w, rows=None: nu * t,
        n_rows=n,
    )
    # The box is tight enough to matter.
    return OracleProblem(inner, outer, np.zeros(p), np.zeros(d), (-0.5, 0.5))


def tuning(kind: str, seed: int = 0, n: int = 80, p: int = 6) -> OracleProblem:
    """Hold-out of a linear model with one strength per feature; half are noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = X[:, : p // 2] @ np.linspace(1.0, 2.0, p // 2)
    train, valid = np.arange(0, n, 2), np.arange(1, n, 2)
    task: Any
    if kind == "ridge":
        y = (eta + rng.standard_normal(n))[:, None]
        task = rows_task(as_design(X), y, np.ones(n), train, valid)
    else:
        y = (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
        loss, free = LogisticLoss(), np.zeros((n, 0))
        model = GLMTasks(as_design(X), y, np.ones(n), loss, loss, free)
        task = model.fold(train, valid)
    strengths = FeatureStrengths(p, 0.1 / n)
    bounds = strengths.bounds(0.1 / n, 1e2 / n)
    start = np.mean(bounds, axis=0)
    return linear_oracles(BilevelProblem((task,), strengths, bounds), start)
