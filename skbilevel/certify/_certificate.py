"""What certificates of both kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._conditions import Condition
from skbilevel.certify._dynamics import Dynamics
from skbilevel.certify._exact import Box, exact
from skbilevel.certify._polynomials import Polynomial
from skbilevel.certify._program import Program, Slack
from skbilevel.certify._proof import Proof
from skbilevel.certify._smooth import SmoothSlack


class Certificate(ABC):
    """A family of functions, and what a member has to satisfy on a box of states."""

    dynamics: Dynamics
    template: Sequence[Polynomial]
    degree: int | None

    @property
    @abstractmethod
    def conditions(self) -> tuple[Condition, ...]:
        """Signs on tiles."""

    @property
    @abstractmethod
    def normal(self) -> Array | None:
        """The equation ``normal @ beta = 1``, if there is one."""

    @abstractmethod
    def prove(self, theta: Any, beta: Any, *, depth: int = 3) -> Proof:
        """Verify a controller and a certificate in exact arithmetic."""

    @cached_property
    def program(self) -> Program:
        """The conditions as a linear program, for every theta."""
        rows = [condition.rows(self.degree) for condition in self.conditions]
        A, b = (np.concatenate(part) for part in zip(*rows, strict=True))
        return Program(A, b, self.normal)

    def solve(self, theta: Any) -> Slack:
        """Return the smallest slack of a certificate for a controller.

        Parameters
        ----------
        theta : array-like of shape (n_theta,)
            The controller.

        Returns
        -------
        slack : Slack
            ``slack, grad, beta, n_constraints, status``; in double precision, so that
            a negative slack is a hint and `prove` gives the verdict.

        Raises
        ------
        ValueError
            If theta is not a finite vector of the right length.
        RuntimeError
            If the program is infeasible, as for a template of tiny members, or the
            linear solver gives up, which happens at extreme scales.
        """
        return self.program.solve(np.asarray(theta, dtype=float))

    def constraint(self, margin: float = 1e-3) -> dict[str, Any]:
        """Return ``-slack(theta) - margin >= 0`` for `scipy.optimize.minimize`.

        Parameters
        ----------
        margin : float, default=1e-3
            By how much the slack is asked to be below zero.

        Returns
        -------
        constraint : dict
            With the keys "type", "fun" and "jac" of the method SLSQP.
        """
        return {
            "type": "ineq",
            "fun": lambda theta: -self.solve(theta).slack - margin,
            "jac": lambda theta: -self.solve(theta).grad,
        }

    def smooth(self, temperature: float = 1e-3, curvature: float = 1e-3) -> SmoothSlack:
        """Return the smoothed slack, the inner problem for `minimize_bilevel`.

        Parameters
        ----------
        temperature : float, default=1e-3
            Smoothing of the maximum over inequalities, in units of the slack.
        curvature : float, default=1e-3
            Factor of the quadratic term.

        Returns
        -------
        smooth : SmoothSlack
            Its method ``problem`` makes an `OracleProblem`.
        """
        return SmoothSlack(self.program, temperature, curvature)


def check_template(template: Sequence[Polynomial], n_states: int, box: Box) -> None:
    """Refuse what does not fit the number of states."""
    if len(box.sides) != n_states:
        raise ValueError(f"The box must have {n_states} sides, one for each state.")
    if len(template) == 0 or any(m.n_variables != n_states for m in template):
        raise ValueError(f"template must have polynomials in {n_states} variables.")


def check_tiles(tiles: int) -> None:
    """Refuse empty grids."""
    if not isinstance(tiles, int | np.integer) or tiles < 1:
        raise ValueError(f"tiles={tiles!r} must be an integer of at least 1.")


def exact_vector(values: Any, length: int, name: str) -> tuple[Fraction, ...]:
    """Return exact numbers; the count is checked."""
    found = tuple(exact(value) for value in values)
    if len(found) != length:
        raise ValueError(f"{name} must have {length} numbers, not {len(found)}.")
    return found
