"""Bilevel problems known through oracles: values and products, no structure.

::

    min over theta in a box of  F(theta) = f(theta, w(theta))
    w(theta) = argmin over w of g(theta, w),   g strongly convex in w

Vectors ``theta`` and ``w`` are one-dimensional. With q the solution of
``g_ww q = f_w``, the gradient is ``F' = f_theta - g_theta_w q``: it needs the product
``cross(q) = g_theta_w q``, the derivative in theta of ``<g_w(theta, w), q>``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array


class InnerPoint(Protocol):
    """The inner objective at (theta, w); everything is computed when first asked for.

    Points of problems that provide ``dense_hessian`` have a method ``hessian()``, those
    that provide ``third_derivative`` one ``third(d)``, the number ``g_www [d, d, d]``.
    """

    @property
    def value(self) -> float:
        """``g(theta, w)``."""

    @property
    def grad(self) -> Array:
        """``g_w``, the shape of w."""

    def hvp(self, d: Array) -> Array:
        """``g_ww d``, the shape of w."""

    def cross(self, d: Array) -> Array:
        """``g_theta_w d``, the shape of theta."""


class InnerProblem(Protocol):
    """The inner objective as a function of (theta, w).

    Notes
    -----
    ``provides`` lists what solvers may rely on beyond the oracles:

    ``row_batches``
        a mean over ``n_rows`` rows; ``take(rows)`` is the mean over some of them
    ``smoothness``
        ``smoothness(theta)`` bounds the Hessian for all w; an attribute
        ``row_smoothness``, if there is one, the Hessian of the loss of any single row
    ``diagonal_penalty``
        theta enters through ``0.5 d(theta).w^2`` alone, and differences of
        ``smoothness`` are those of d
    ``dense_hessian``, ``third_derivative``
        see `InnerPoint`
    ``row_codes``
        derivatives of rows in compressed form, for memories of earlier ones, by
        methods of `take`: ``codes(theta, w, q)`` are ``n_codes`` numbers for each row,
        ``assemble(codes)`` makes the mean over these rows from them, and
        ``exact(theta, w, q)`` is what does not depend on rows. Inside each makes the
        triple ``(g_w, g_ww q, g_theta_w q)``, outside the pair ``(f_w, f_theta)``
    ``grad_codes``
        the same for the gradient alone: ``grad_codes(theta, w)``,
        ``assemble_grad(codes)`` and ``exact_grad(theta, w)`` of `take`
    ``many_thetas``
        ``grad_many(thetas, ws)`` are the gradients at several (theta, w), one a row,
        for less than their price one by one
    """

    @property
    def provides(self) -> frozenset[str]:
        """Capability words."""

    @property
    def n_rows(self) -> int:
        """Number of rows the objective is a mean over; 0 if it is not one."""

    def at(self, theta: Array, w: Array) -> InnerPoint:
        """The oracles at (theta, w)."""

    def take(self, rows: Array) -> InnerProblem:
        """The mean over some rows, unbiased if they are drawn uniformly."""

    @property
    def smoothness(self) -> Callable[[Array], Any] | None:
        """``M(theta)``, a number or one per component: ``g_ww <= diag(M)``; or None."""


class OuterPoint(Protocol):
    """The outer objective at (theta, w)."""

    @property
    def value(self) -> float:
        """``f(theta, w)``."""

    @property
    def grad(self) -> Array:
        """``f_w``, the shape of w."""

    @property
    def grad_theta(self) -> Array:
        """``f_theta``, the partial derivative at fixed w."""


class OuterProblem(Protocol):
    """The outer objective as a function of (theta, w); words as for the inner one."""

    @property
    def provides(self) -> frozenset[str]:
        """Capability words."""

    @property
    def n_rows(self) -> int:
        """Number of rows the objective is a mean over; 0 if it is not one."""

    def at(self, theta: Array, w: Array) -> OuterPoint:
        """The oracles at (theta, w)."""

    def take(self, rows: Array) -> OuterProblem:
        """The mean over some rows."""


@dataclass(frozen=True)
class OracleProblem:
    """An inner and an outer problem, where to start, and the box of theta.

    Parameters
    ----------
    inner : InnerProblem
        `InnerOracles`, or any object with its methods.
    outer : OuterProblem
        `OuterOracles`, or any object with its methods.
    w0 : ndarray of shape (p,)
        First guess of w.
    theta0 : ndarray of shape (d,)
        First guess of theta.
    bounds : tuple of two ndarrays or floats
        Box of theta; the search needs one wherever the infimum may lie at infinity.
    """

    inner: InnerProblem
    outer: OuterProblem
    w0: Array
    theta0: Array
    bounds: tuple[Array | float, Array | float] = (-np.inf, np.inf)

    def __post_init__(self) -> None:
        for name in ("w0", "theta0"):
            value = np.asarray(getattr(self, name))
            if value.ndim != 1 or not np.isfinite(value).all():
                raise ValueError(f"{name} must be a finite vector.")
        if {np.shape(bound) for bound in self.bounds} - {(), np.shape(self.theta0)}:
            raise ValueError("bounds must be numbers or vectors as long as theta0.")
        low, high = self.box
        if (low > high).any():
            raise ValueError("Every lower bound must not exceed its upper bound.")

    @property
    def box(self) -> tuple[Array, Array]:
        """Bounds as vectors of the length of theta."""
        d = len(self.theta0)
        low, high = (
            np.broadcast_to(np.asarray(bound, dtype=float), d) for bound in self.bounds
        )
        return low, high

    @property
    def provides(self) -> frozenset[str]:
        """Words that both levels provide, and those of the inner one alone."""
        words = set(self.inner.provides)
        for shared in ("row_batches", "row_codes"):
            if shared not in self.outer.provides:
                words.discard(shared)
        return frozenset(words)


class _ByRows:
    """Functions that take ``rows``, on all or some of them."""

    rows: Array | None

    def take(self, rows: Array) -> Self:
        """The mean over some rows."""
        chosen = rows if self.rows is None else self.rows[rows]
        return replace(self, rows=chosen, n_rows=len(chosen))  # type: ignore[type-var]

    def call(self, name: str, shape: tuple[int, ...], *args: Array) -> Array:
        """One of the functions, on the chosen rows."""
        rows = {} if self.rows is None else {"rows": self.rows}
        found = np.asarray(getattr(self, name)(*args, **rows))
        if found.shape != shape:  # broadcasting would make a wrong number of it
            raise ValueError(
                f"{type(self).__name__}.{name} has shape {found.shape} where {shape} "
                "was expected."
            )
        return found


@record
class _Called:
    """What both levels have at a point."""

    oracles: Any
    theta: Array
    w: Array

    @cached_property
    def value(self) -> float:
        return float(self.oracles.call("value", (), self.theta, self.w))

    @cached_property
    def grad(self) -> Array:
        return self.oracles.call("grad", self.w.shape, self.theta, self.w)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class InnerOracles(_ByRows):
    """The inner objective as functions of ``(theta, w)``.

    Parameters
    ----------
    value : callable
        ``value(theta, w)``, a number.
    grad : callable
        ``grad(theta, w)``, the gradient in w.
    hvp : callable
        ``hvp(theta, w, d)``, the Hessian in w times d.
    cross : callable
        ``cross(theta, w, d)``, the derivative of ``<grad(theta, w), d>`` in theta.
    n_rows : int, default=0
        If positive, the objective is a mean over so many rows, and all functions take
        a keyword ``rows``, an array of row numbers, or None for all rows.
    smoothness : callable or None, default=None
        ``smoothness(theta)`` bounds the Hessian from above by a number, or by one for
        each component of w. Without it steps rest on Hessian products.
    hessian : callable or None, default=None
        ``hessian(theta, w)`` as an array, for direct solves.

    Examples
    --------
    A ridge problem with one strength ``exp(theta_j)`` per feature:

    >>> import numpy as np
    >>> from skbilevel.problems import InnerOracles
    >>> X, y = np.eye(3), np.ones(3)
    >>> inner = InnerOracles(
    ...     value=lambda t, w: 0.5 * ((X @ w - y) ** 2).sum()
    ...     + 0.5 * np.exp(t) @ w**2,
    ...     grad=lambda t, w: X.T @ (X @ w - y) + np.exp(t) * w,
    ...     hvp=lambda t, w, d: X.T @ (X @ d) + np.exp(t) * d,
    ...     cross=lambda t, w, d: np.exp(t) * w * d,
    ... )
    >>> inner.at(np.zeros(3), np.ones(3)).grad
    array([1., 1., 1.])
    """

    value: Callable[..., float]
    grad: Callable[..., Array]
    hvp: Callable[..., Array]
    cross: Callable[..., Array]
    n_rows: int = 0
    smoothness: Callable[[Array], Any] | None = None
    hessian: Callable[[Array, Array], Array] | None = None
    rows: Array | None = None

    @property
    def provides(self) -> frozenset[str]:
        """What was given."""
        words = {
            "row_batches": self.n_rows > 0,
            "smoothness": self.smoothness is not None,
            "dense_hessian": self.hessian is not None,
        }
        return frozenset(word for word, given in words.items() if given)

    def at(self, theta: Array, w: Array) -> _CalledInner:
        """The oracles at (theta, w)."""
        return _CalledInner(self, theta, w)


@record
class _CalledInner(_Called):
    oracles: InnerOracles

    def hvp(self, d: Array) -> Array:
        return self.oracles.call("hvp", d.shape, self.theta, self.w, d)

    def cross(self, d: Array) -> Array:
        return self.oracles.call("cross", self.theta.shape, self.theta, self.w, d)

    def hessian(self) -> Array:
        assert self.oracles.hessian is not None
        return np.asarray(self.oracles.hessian(self.theta, self.w))


@dataclass(frozen=True)
class OuterOracles(_ByRows):
    """The outer objective as functions of ``(theta, w)``.

    Parameters
    ----------
    value : callable
        ``value(theta, w)``, a number.
    grad : callable
        ``grad(theta, w)``, the gradient in w.
    grad_theta : callable or None, default=None
        ``grad_theta(theta, w)``, the partial derivative in theta; None is zero.
    n_rows : int, default=0
        As for `InnerOracles`.
    """

    value: Callable[..., float]
    grad: Callable[..., Array]
    grad_theta: Callable[..., Array] | None = None
    n_rows: int = 0
    rows: Array | None = None

    @property
    def provides(self) -> frozenset[str]:
        """What was given."""
        return frozenset({"row_batches"} if self.n_rows > 0 else ())

    def at(self, theta: Array, w: Array) -> _CalledOuter:
        """The oracles at (theta, w)."""
        return _CalledOuter(self, theta, w)


@record
class _CalledOuter(_Called):
    oracles: OuterOracles

    @cached_property
    def grad_theta(self) -> Array:
        if self.oracles.grad_theta is None:
            return np.zeros_like(self.theta)
        return self.oracles.call("grad_theta", self.theta.shape, self.theta, self.w)
