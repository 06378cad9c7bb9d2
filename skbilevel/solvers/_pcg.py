"""Preconditioned conjugate gradients on many right-hand sides at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skbilevel._typing import Array

Operator = Callable[[Array], Array]


# Steps whose decrease of the error is summed to estimate what is left of it.
DELAY = 3


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...pt,...pt->...t", a, b))[..., None, :]


def ratio(a: Array, b: Array, least: float = 0.0) -> Array:
    """``a / b``, and zero where b is no more than ``least``.

    A column that is solved has a zero direction: it stays where it is.
    """
    return np.divide(a, b, out=np.zeros_like(a), where=b > least)


def conjugate_gradients(
    apply: Operator,
    b: Array,
    x0: Array | None,
    precondition: Operator,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Array, int, bool]:
    """Solve ``H x = b`` column by column; the columns share products, not steps.

    Stops once the error in the norm of H is estimated to be below ``tol |x|_H`` in
    every column. Step k reduces the squared error by ``alpha_k rho_k`` exactly
    (Hestenes and Stiefel), so the sum over the last steps estimates what was left
    before them. The norm of the residual says little here: with weak strengths it
    is small long before the solution is near.

    Parameters
    ----------
    apply, precondition : callable
        Products with H and with an approximate inverse, on arrays (..., p, t).
    b : ndarray of shape (..., p, t)
        Right-hand sides.
    x0 : ndarray or None
        First guess, zero by default.
    tol : float
        Relative accuracy. At least one step is made from any guess that is not exact,
        so that a small change of the problem always moves the solution.
    max_iter : int
        Largest number of steps.

    Returns
    -------
    x, n_iter, converged
    """
    warm = x0 is not None and bool(x0.any())
    x = x0.copy() if warm and x0 is not None else np.zeros_like(b)
    r = b - apply(x) if warm else b.copy()
    z = precondition(r)
    rho = _dot(r, z)
    d = z
    drops: list[Array] = []
    for step in range(max_iter):
        if not rho.any() or _accurate(drops, tol, b, x):
            return x, step, True
        if np.isnan(rho).any():  # as H or b
            return np.full_like(x, np.nan), step, False
        q = apply(d)
        alpha = ratio(rho, _dot(d, q))
        drops = [*drops[1 - DELAY :], alpha * rho]
        x += alpha * d
        r -= alpha * q
        z = precondition(r)
        old, rho = rho, _dot(r, z)
        d = z + ratio(rho, old) * d
    return x, max_iter, _accurate(drops, tol, b, x)


def _accurate(drops: list[Array], tol: float, b: Array, x: Array) -> bool:
    if len(drops) < DELAY:
        return False
    # b.x is |x|_H^2 at the solution.
    return bool((sum(drops) <= tol**2 * np.maximum(_dot(b, x), 0.0)).all())


def coupled_gradients(
    apply: Operator,
    B: Array,
    precondition: Operator,
    *,
    tol: float,
    max_iter: int,
    enough: float = 0.0,
) -> tuple[Array, Array, int]:
    """Solve ``H X = B`` where all numbers of X are one unknown, from zero.

    It ends as soon as the squared residual, in the norm of the preconditioner, has
    fallen by ``tol^2`` or is below ``enough``, and returns X, the residual ``B - H X``
    and the number of steps.
    """
    X, R = np.zeros_like(B), B
    Z = precondition(R)
    D, rz = Z, float((R * Z).sum())
    enough = max(tol**2 * rz, enough)
    for n_iter in range(max_iter):
        if rz <= enough or rz <= 0.0:
            return X, R, n_iter
        HD = apply(D)
        bend = float((D * HD).sum())
        if not bend > 0.0:
            # H is zero along D, but for rounding.
            return X, R, n_iter
        step = rz / bend
        X, R = X + step * D, R - step * HD
        Z = precondition(R)
        rz, before = float((R * Z).sum()), rz
        D = Z + (rz / before) * D
    return X, R, max_iter
