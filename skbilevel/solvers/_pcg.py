"""Preconditioned conjugate gradients on many right-hand sides at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skbilevel._typing import Array

Operator = Callable[[Array], Array]


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("...pt,...pt->...t", a, b)[..., None, :]


def _ratio(a: Array, b: Array) -> Array:
    # A column that is solved has a zero direction: it stays where it is.
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def conjugate_gradients(
    apply: Operator,
    b: Array,
    x0: Array | None,
    precondition: Operator,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Array, Array, int, bool]:
    """Solve ``H x = b`` column by column; the columns share products, not steps.

    Parameters
    ----------
    apply, precondition : callable
        Products with H and with an approximate inverse, on arrays (..., p, t).
    b : ndarray of shape (..., p, t)
        Right-hand sides.
    x0 : ndarray or None
        First guess, zero by default.
    tol : float
        Stop once ``|r|_M <= tol |b|_M`` in every column, with M the preconditioner;
        from a non-zero guess at least one step is made, so that a small change of
        the problem always moves the solution.
    max_iter : int
        Largest number of steps.

    Returns
    -------
    x, residual, n_iter, converged
        The residual is the one of the recursion.
    """
    size = _dot(b, precondition(b))
    warm = x0 is not None and bool(x0.any())
    x = x0.copy() if warm and x0 is not None else np.zeros_like(b)
    r = b - apply(x) if warm else b.copy()
    z = precondition(r)
    rho = _dot(r, z)
    goal = tol**2 * size
    d = z
    for step in range(max_iter):
        if (rho <= goal).all() and not (warm and step == 0):
            return x, r, step, True
        q = apply(d)
        alpha = _ratio(rho, _dot(d, q))
        x += alpha * d
        r -= alpha * q
        z = precondition(r)
        old, rho = rho, _dot(r, z)
        d = z + _ratio(rho, old) * d
    return x, r, max_iter, bool((rho <= goal).all())
