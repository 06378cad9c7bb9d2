"""The slack of a certificate as a smooth, strongly convex inner problem.

The program's value is ``min over beta of max_i z_i``, ``z = b - A(theta) beta``. With
the maximum smoothed and a small quadratic term it has one solution, smooth in theta::

    g(theta, w) = tau log sum_i exp(z_i / tau) + kappa/2 |w|^2,   beta = beta_0 + B w

where w are coordinates in the plane of the equation for beta. The first term is never
below the maximum: where it is negative there is a certificate, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.certify._program import Program
from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles

Cost = Callable[[Array], tuple[float, Array]]


@record
class _At:
    """What is needed of z at one (theta, w)."""

    M: Array  # z falls by M dw
    share: Array  # softmax of z / tau
    slack: float

    @property
    def mean(self) -> Array:
        """The mean of M."""
        return np.asarray(self.share @ self.M)

    def spread(self, d: Array) -> Array:
        """How the shares change, times -tau, with a step of w."""
        moved = self.M @ d
        return np.asarray(self.share * (moved - self.share @ moved))


@dataclass(frozen=True)
class SmoothSlack:
    """The smoothed slack: what `minimize_bilevel` gets from a certificate.

    Parameters
    ----------
    program : Program
        The inequalities.
    temperature : float
        tau, in units of the slack. The smoothed slack is too large by at most
        ``tau log n`` for n inequalities.
    curvature : float
        kappa, the strong convexity.
    """

    program: Program
    temperature: float
    curvature: float

    def __post_init__(self) -> None:
        for name in ("temperature", "curvature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive.")

    @cached_property
    def _plane(self) -> tuple[Array, Array]:
        """beta_0 and an orthonormal B."""
        K = self.program.A.shape[1]
        normal = self.program.normal
        if normal is None:
            return np.zeros(K), np.eye(K)
        along = np.linalg.svd(normal[None])[2][1:].T
        return normal / (normal @ normal), along

    @cached_property
    def _rows(self) -> tuple[Array, Array]:
        """A and b with the bounds of beta, which the slack may move, as rows."""
        A, b = self.program.A, self.program.b
        K = A.shape[1]
        bounds = np.zeros((2 * K, K, A.shape[2]))
        bounds[:, :, 0] = np.concatenate([np.eye(K), -np.eye(K)])
        return np.concatenate([A, bounds]), np.concatenate([b, -np.ones(2 * K)])

    def beta(self, w: Array) -> Array:
        """Return coefficients of the certificate."""
        origin, basis = self._plane
        return np.asarray(origin + basis @ w)

    def w(self, beta: Array) -> Array:
        """Return coordinates of coefficients."""
        origin, basis = self._plane
        return np.asarray(basis.T @ (beta - origin))

    def _at(self, theta: Array, w: Array) -> _At:
        A, b = self._rows
        beta = self.beta(w)
        at_theta = A @ np.concatenate([[1.0], theta])
        z = (b - at_theta @ beta) / self.temperature
        top = z.max()
        weights = np.exp(z - top)
        total = weights.sum()
        return _At(
            M=at_theta @ self._plane[1],
            share=weights / total,
            slack=float(self.temperature * (top + np.log(total))),
        )

    def slack(self, theta: Array, w: Array) -> float:
        """Return the smoothed maximum of z; below zero beta(w) is a certificate."""
        return self._at(theta, w).slack

    def _by_theta(self, weights: Array, beta: Array) -> Array:
        """Return the derivative in theta of ``weights . z`` at a fixed direction."""
        moved = (weights @ self._rows[0].reshape(len(weights), -1)).reshape(
            len(beta), -1
        )
        return np.asarray(-beta @ moved[:, 1:])

    @property
    def inner(self) -> InnerOracles:
        """g and its derivatives."""
        tau, kappa = self.temperature, self.curvature
        basis = self._plane[1]

        def hvp(theta: Array, w: Array, d: Array) -> Array:
            here = self._at(theta, w)
            return np.asarray(here.M.T @ here.spread(d) / tau + kappa * d)

        def cross(theta: Array, w: Array, d: Array) -> Array:
            here = self._at(theta, w)
            through_shares = self._by_theta(here.spread(d), self.beta(w)) / tau
            return self._by_theta(here.share, basis @ d) - through_shares

        def hessian(theta: Array, w: Array) -> Array:
            here = self._at(theta, w)
            centred = here.M - here.mean
            second = (centred.T * here.share) @ centred / tau
            return np.asarray(second + kappa * np.eye(len(w)))

        return InnerOracles(
            value=lambda theta, w: self.slack(theta, w) + 0.5 * kappa * w @ w,
            grad=lambda theta, w: -self._at(theta, w).mean + kappa * w,
            hvp=hvp,
            cross=cross,
            hessian=hessian,
        )

    def outer(self, cost: Cost, weight: float, margin: float) -> OuterOracles:
        """Return ``cost(theta) + weight/2 max(0, slack(theta, w) + margin)^2``."""

        def push(here: _At) -> float:
            return weight * max(0.0, here.slack + margin)

        def grad_theta(theta: Array, w: Array) -> Array:
            here = self._at(theta, w)
            slope = self._by_theta(here.share, self.beta(w))
            return np.asarray(cost(theta)[1] + push(here) * slope)

        def grad(theta: Array, w: Array) -> Array:
            here = self._at(theta, w)
            return -push(here) * here.mean

        return OuterOracles(
            value=lambda theta, w: (
                cost(theta)[0] + 0.5 * push(self._at(theta, w)) ** 2 / weight
            ),
            grad=grad,
            grad_theta=grad_theta,
        )

    def problem(
        self,
        cost: Cost,
        theta0: Array,
        *,
        weight: float,
        margin: float = 1e-3,
        bounds: tuple[Any, Any] = (-np.inf, np.inf),
    ) -> OracleProblem:
        """Return the joint problem of control and certificate, for `minimize_bilevel`.

        ::

            min over theta  cost(theta) + weight/2 max(0, slack(theta, w) + margin)^2
            w(theta) = argmin g(theta, w)

        Parameters
        ----------
        cost : callable
            ``cost(theta)`` returns a number and its gradient.
        theta0 : ndarray of shape (n_theta,)
            Start, best a controller that has a certificate.
        weight : float
            Price of a slack above ``-margin``.
        margin : float, default=1e-3
            By how much the slack is asked to be below zero.
        bounds : tuple, default=(-inf, inf)
            Box of theta; costs of simulations need one, as they overflow far away.

        Returns
        -------
        problem : OracleProblem
            An ordinary one; it starts at the solution of the linear program.
        """
        if not weight > 0:
            raise ValueError(f"weight={weight!r} must be positive.")
        theta0 = np.asarray(theta0, dtype=float)
        return OracleProblem(
            self.inner,
            self.outer(cost, weight, margin),
            self.w(self.program.solve(theta0).beta),
            theta0,
            bounds,
        )
