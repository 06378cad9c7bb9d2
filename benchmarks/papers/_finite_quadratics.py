"""Quadratic bilevel problems that are means over rows, with exact F."""

from typing import Any

import numpy as np
from _bilevel_traces import deterministic, follow, stochastic

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles

MU, CROSS = 0.1, 0.1


def draw(n: int, m: int, p: int, d: int, seed: int) -> tuple[OracleProblem, Any]:
    """Return a problem and ``F`` minus its minimum.

    ::

        g_i = 0.5 (a_i.w)^2 + 0.5 mu |w|^2 + (a_i.w) (c_i.theta) - y_i a_i.w
        f_j = 0.5 (e_j.w - t_j)^2 + 0.5 mu |theta|^2

    with mean Hessians between mu and 1, and a cross term of size 0.1.
    """
    rng = np.random.default_rng(seed)
    spectrum = np.sqrt((1.0 - MU) * np.geomspace(1e-3, 1.0, p))
    A = rng.standard_normal((n, p)) * spectrum
    A = A @ np.linalg.qr(rng.standard_normal((p, p)))[0]
    C = CROSS * rng.standard_normal((n, d)) + CROSS * A @ rng.standard_normal((p, d))
    y = A @ rng.standard_normal(p) + rng.standard_normal(n)
    E = rng.standard_normal((m, p)) / np.sqrt(p)
    t = E @ rng.standard_normal(p) + rng.standard_normal(m)
    H = A.T @ A / n + MU * np.eye(p)
    top = float(np.linalg.eigvalsh(H)[-1])

    def some(rows: Any, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return arrays if rows is None else tuple(each[rows] for each in arrays)

    def value(x: Any, w: Any, rows: Any = None) -> float:
        a, c, z = some(rows, A, C, y)
        u = a @ w
        return float(np.mean(0.5 * u**2 + u * (c @ x - z)) + 0.5 * MU * w @ w)

    def grad(x: Any, w: Any, rows: Any = None) -> np.ndarray:
        a, c, z = some(rows, A, C, y)
        return a.T @ (a @ w + c @ x - z) / len(z) + MU * w

    def hvp(x: Any, w: Any, v: Any, rows: Any = None) -> np.ndarray:
        (a,) = some(rows, A)
        return a.T @ (a @ v) / len(a) + MU * v

    def cross(x: Any, w: Any, v: Any, rows: Any = None) -> np.ndarray:
        a, c = some(rows, A, C)
        return c.T @ (a @ v) / len(a)

    def outer(x: Any, w: Any, rows: Any = None) -> float:
        e, s = some(rows, E, t)
        return float(np.mean(0.5 * (e @ w - s) ** 2) + 0.5 * MU * x @ x)

    def outer_grad(x: Any, w: Any, rows: Any = None) -> np.ndarray:
        e, s = some(rows, E, t)
        return e.T @ (e @ w - s) / len(s)

    problem = OracleProblem(
        InnerOracles(value, grad, hvp, cross, n, lambda x: top),
        OuterOracles(outer, outer_grad, lambda x, w, rows=None: MU * x, m),
        np.zeros(p),
        np.zeros(d),
    )
    # w(theta) = w_0 - S theta
    S, w0 = np.linalg.solve(H, A.T @ C / n), np.linalg.solve(H, A.T @ y / n)
    curvature = (E @ S).T @ (E @ S) / m + MU * np.eye(d)
    best = np.linalg.solve(curvature, (E @ S).T @ (E @ w0 - t) / m)

    def excess(x: np.ndarray) -> float:
        return float(0.5 * (x - best) @ curvature @ (x - best))

    return problem, excess


def run(seeds: int, passes: float, n: int) -> dict[str, Any]:
    """Return the medians of all solvers."""
    problem, excess = draw(n, n // 32, 100, 10, 0)
    start = excess(problem.theta0)
    found: dict[str, Any] = {}
    for name, solver in (stochastic(passes) | deterministic()).items():
        many = seeds if name in ("SABA", "SOBA", "AmIGO-SGD") else 1
        budget = passes if name in stochastic(passes) else 15 * passes
        found[name] = follow(
            solver,
            problem,
            lambda x: max(excess(x) / start, 1e-16),
            many,
            budget,
        )
        print("quadratics", name, found[name]["gap"][-1], flush=True)
    return {"runs": found, "rows": [n, n // 32]}
