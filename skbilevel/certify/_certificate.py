"""What certificates of both kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._conditions import Condition, raised
from skbilevel.certify._dynamics import Dynamics
from skbilevel.certify._exact import Box, Number, exact
from skbilevel.certify._polynomials import Polynomial
from skbilevel.certify._program import Program, Slack
from skbilevel.certify._proof import NOTHING, Proof, least_coefficients
from skbilevel.certify._smooth import SmoothSlack


class Certificate(ABC):
    """A family of functions, and what a member has to satisfy on a box of states."""

    # What a proof says, in words.
    _claim: ClassVar[str]

    dynamics: Dynamics
    template: Sequence[Polynomial]
    box: Box
    margin: Number
    tiles: int
    degree: int | None

    def _check_parts(self) -> None:
        """Refuse what does not fit the states, empty grids and negative margins."""
        n_states = self.dynamics.n_states
        if len(self.box.sides) != n_states:
            raise ValueError(f"The box must have {n_states} sides, one for each state.")
        members = self.template
        if len(members) == 0 or any(m.n_variables != n_states for m in members):
            raise ValueError(f"template must have polynomials in {n_states} variables.")
        if not isinstance(self.tiles, int | np.integer) or self.tiles < 1:
            raise ValueError(f"tiles={self.tiles!r} must be an integer of at least 1.")
        if exact(self.margin) < 0:
            raise ValueError(f"margin={self.margin!r} must be at least zero.")

    def _check_degree(self) -> None:
        """Refuse Bernstein forms of a lower degree than the conditions have."""
        for condition in self.conditions:
            raised(condition.degrees, self.degree, self.dynamics.n_states)

    @property
    @abstractmethod
    def conditions(self) -> tuple[Condition, ...]:
        """Signs on tiles."""

    @property
    @abstractmethod
    def normal(self) -> Array | None:
        """The equation ``normal @ beta = 1``, if there is one."""

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
        return self.program.solve(theta)

    def prove(self, theta: Any, beta: Any, *, depth: int = 3) -> Proof:
        """Verify a controller and a certificate in exact arithmetic.

        Parameters
        ----------
        theta : sequence of n_theta numbers
            The controller. A float is taken as the binary number that it is.
        beta : sequence of numbers, one for every member of the template
            Coefficients of B or V, for instance those of `solve`.
        depth : int, default=3
            How many times a tile may be halved along all axes.

        Returns
        -------
        proof : Proof
            With ``holds`` and, in words, the ``claim``.
        """
        theta = exact_vector(theta, self.dynamics.n_theta, "theta")
        beta = exact_vector(beta, len(self.template), "beta")
        found = least_coefficients(self.conditions, theta, beta, depth)
        smallest = min(found)
        proof = self._completed(
            Proof(smallest > 0, self._claim, smallest, len(found), theta, beta)
        )
        return proof if proof.holds else replace(proof, claim=NOTHING)

    def _completed(self, proof: Proof) -> Proof:
        """What the conditions on the tiles prove, with all else that is claimed."""
        return proof

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


def exact_vector(values: Any, length: int, name: str) -> tuple[Fraction, ...]:
    """Return exact numbers; the count is checked."""
    found = tuple(exact(value) for value in values)
    if len(found) != length:
        raise ValueError(f"{name} must have {length} numbers, not {len(found)}.")
    return found
