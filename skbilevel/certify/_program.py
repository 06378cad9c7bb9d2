"""The inner problem of a certificate: a linear program, and the envelope of its value.

::

    c*(theta) = min over beta, c of  c
    subject to  A(theta) beta + c >= b,   N beta = n,   |beta_k| <= 1

With multipliers ``mu >= 0`` of the first constraints, ``dc*/dtheta_j = -mu' A_j beta``
where they are unique; elsewhere it is the slope of one piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from skbilevel._records import record
from skbilevel._typing import Array

# Rows that a program begins with, and those that are added at a time.
_FIRST, _MORE = 200, 50


@dataclass(frozen=True)
class Slack:
    """The smallest slack with which a certificate exists, at one theta.

    Attributes
    ----------
    slack : float
        c*. Below zero there is a certificate, up to rounding: ask for a margin, and
        for a proof.
    grad : ndarray of shape (n_theta,)
        Its derivative by the envelope theorem; of one piece where it has a kink.
    beta : ndarray of shape (len(template),)
        Coefficients of the certificate.
    n_constraints : int
        Inequalities of the whole program.
    status : str
        What the linear solver says.
    """

    slack: float
    grad: Array
    beta: Array
    n_constraints: int
    status: str


@record
class Program:
    """Inequalities ``A(theta) beta + c >= b`` and an equation for beta.

    Parameters
    ----------
    A : ndarray of shape (n, K, 1 + d)
        The constant and the factor of every theta.
    b : ndarray of shape (n,)
        Right sides.
    normal : ndarray of shape (K,) or None
        ``normal @ beta = 1``; None leaves it out.
    """

    A: Array
    b: Array
    normal: Array | None

    def at(self, theta: Array) -> Array:
        """Return A(theta) of shape (n, K)."""
        theta = np.asarray(theta, dtype=float)
        if theta.shape != (self.A.shape[2] - 1,) or not np.isfinite(theta).all():
            raise ValueError(
                f"theta must be a finite vector of length {self.A.shape[2] - 1}."
            )
        return np.asarray(self.A @ np.concatenate([[1.0], theta]))

    def solve(self, theta: Array) -> Slack:
        """Solve the program, with the violated rows alone, until none is left.

        It has a handful of unknowns and thousands of rows, most of which say the same:
        a few small programs are solved many times faster than a large one.
        """
        A = self.at(theta)
        chosen = np.unique(np.linspace(0, len(A) - 1, _FIRST).astype(int))
        while True:
            solution = self._solve_rows(A, chosen)
            beta, c = solution.x[:-1], solution.x[-1]
            missing = self.b - A @ beta - c
            missing[chosen] = 0.0
            worst = np.argsort(-missing)[:_MORE]
            worst = worst[missing[worst] > 1e-9]
            if len(worst) == 0:
                break
            chosen = np.concatenate([chosen, worst])
        dual = -solution.ineqlin.marginals
        grad = -np.einsum("n,nkj,k->j", dual, self.A[chosen, :, 1:], beta)
        return Slack(float(c), grad, beta, len(A), solution.message)

    def _solve_rows(self, A: Array, rows: Array) -> linprog:
        K = A.shape[1]
        normal = None if self.normal is None else np.append(self.normal, 0.0)[None]
        solution = linprog(
            np.append(np.zeros(K), 1.0),
            A_ub=-np.column_stack([A[rows], np.ones(len(rows))]),
            b_ub=-self.b[rows],
            A_eq=normal,
            b_eq=None if normal is None else [1.0],
            bounds=[(-1.0, 1.0)] * K + [(None, None)],
            method="highs",
        )
        if solution.x is None:
            raise RuntimeError(
                f"The linear program has no solution ({solution.message}) "
                "Bring theta, box and members of the template to a scale of one."
            )
        return solution
