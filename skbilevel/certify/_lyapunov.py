"""Lyapunov certificates: sublevel sets that trajectories cannot leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise, product
from math import ceil
from typing import Any, ClassVar

import numpy as np

from skbilevel._typing import Array
from skbilevel.certify._bernstein import BernsteinForm
from skbilevel.certify._certificate import Certificate, exact_vector
from skbilevel.certify._conditions import Condition
from skbilevel.certify._dynamics import Dynamics
from skbilevel.certify._exact import Box, Interval, Number, exact
from skbilevel.certify._polynomials import Polynomial, combine, variables
from skbilevel.certify._proof import Proof, inner_bound


@dataclass(frozen=True)
class LyapunovCertificate(Certificate):
    """A function V that is positive, and falls along every trajectory in a box.

    ::

        V = sum_k beta_k m_k(x)
        V - g |x|^2 + c R >= 0  and  -grad V . f(x, s, theta) - g |x|^2 + c R >= 0

    on every tile of the box without a square around the origin, for all parameters s. g
    is the margin, R the squared radius of the tile, c the slack, and beta is scaled so
    that the factors of the squares have the sum one. On the square, `prove` compares
    quadratic forms with a bound of the terms of higher degree.

    What a proof claims: every sublevel set of V inside the box is invariant and decays,
    for the stated model and parameter interval, in continuous time. The box itself need
    not be invariant.

    Parameters
    ----------
    dynamics : Dynamics
        The system; the origin is at rest for every theta and all parameters.
    template : sequence of Polynomial
        The m_k, of degree two at least, with every square; see `quadratic`.
    box : Box
        States, the origin inside.
    inner_radius : number, default="0.05"
        Half the side of the square around the origin.
    margin : number, default="0.02"
        g, at least zero.
    tiles : int, default=6
        Intervals of every half axis outside of the square, geometric towards it.
    degree : int or None, default=None
        Of the program's Bernstein forms in every state; None is the lowest possible.

    Raises
    ------
    ValueError
        If a parameter is out of its range, the origin is not at rest, or ``degree`` is
        too low, which names the one needed.

    See Also
    --------
    BarrierCertificate : States that are never reached.

    References
    ----------
    Y. Wang, S. Zhan, Z. Wang, C. Huang, Z. Wang, Z. Yang, Q. Zhu (2023). Joint
    differentiable optimization and verification for certified reinforcement learning.
    ICCPS. There the programs come from other relaxations.

    Examples
    --------
    >>> from skbilevel.certify import Box, Dynamics, LyapunovCertificate, quadratic
    >>> def rule(x, theta, s):
    ...     return x[1], x[0] - theta[0] * x[0] - theta[1] * x[1]
    >>> certificate = LyapunovCertificate(
    ...     Dynamics(rule, 2, 2), quadratic(2), Box([-1, -1], [1, 1]), tiles=3
    ... )
    >>> slack = certificate.solve([3.0, 2.0])
    >>> slack.slack < 0, certificate.prove([3.0, 2.0], slack.beta).holds
    (True, True)
    >>> certificate.prove([0.5, 2.0], slack.beta).holds
    False
    """

    _claim: ClassVar[str] = (
        "Every sublevel set of V inside the box is invariant and decays, for the "
        "stated model and parameter interval, in continuous time; the box itself need "
        "not be invariant."
    )

    dynamics: Dynamics
    template: Sequence[Polynomial]
    box: Box
    inner_radius: Number = "0.05"
    margin: Number = "0.02"
    tiles: int = 6
    degree: int | None = None

    def __post_init__(self) -> None:
        self._check_parts()
        r = exact(self.inner_radius)
        reach = min(min(-side.low, side.high) for side in self.box.sides)
        if not 0 < r < reach:
            raise ValueError(
                f"inner_radius={self.inner_radius!r} must be positive, and its square "
                "must be inside the box, around the origin."
            )
        n = self.dynamics.n_states
        if any(not any(e[:n]) for rate in self.dynamics.rates for e in rate.terms):
            raise ValueError("The origin is not at rest: f(0, s, theta) is not zero.")
        if any(sum(e) < 2 for member in self.template for e in member.terms):
            raise ValueError("template must have no terms of degree zero or one.")
        if not all(
            any(square in m.terms for m in self.template) for square in self._squares
        ):
            raise ValueError("template must have the square of every state.")
        self._check_degree()

    @property
    def _squares(self) -> list[tuple[int, ...]]:
        n = self.dynamics.n_states
        return [tuple(2 * int(i == j) for j in range(n)) for i in range(n)]

    @cached_property
    def normal(self) -> Array:
        """Sum of the factors of the squares, for every member of the template."""
        return np.array(
            [
                float(sum(member.terms.get(square, 0) for square in self._squares))
                for member in self.template
            ]
        )

    @cached_property
    def inner(self) -> Box:
        """The square around the origin."""
        r, n = exact(self.inner_radius), self.dynamics.n_states
        return Box([-r] * n, [r] * n)

    @cached_property
    def outside(self) -> tuple[Box, ...]:
        """Tiles of the box without the square."""
        axes = [self._intervals(side) for side in self.box.sides]
        tiles = (Box.of(sides) for sides in product(*axes))
        return tuple(tile for tile in tiles if not self.inner.contains(tile))

    def _intervals(self, side: Interval) -> list[Interval]:
        """Return intervals that fill a side; their width falls with the distance."""
        r = exact(self.inner_radius)
        ratio = float(min(-side.low, side.high) / r) ** (1 / self.tiles)

        def ends(reach: Fraction) -> list[Fraction]:
            factor = float(reach / r) ** (1 / self.tiles)
            # Rounded ends are as good as others: they only have to meet.
            between = (float(r) * factor**i for i in range(1, self.tiles))
            return [r, *(exact(f"{end:.9g}") for end in between), reach]

        left, right = ends(-side.low), ends(side.high)
        middle = Interval(-r, r).cut(min(ceil(2 / (ratio - 1)), 4 * self.tiles))
        return [
            *(Interval(-b, -a) for a, b in pairwise(left)),
            *middle,
            *(Interval(a, b) for a, b in pairwise(right)),
        ]

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """V is positive, and falls."""
        n, known = self.dynamics.n_states, self.dynamics.n_known
        d = self.dynamics.n_theta
        x = variables(known)[:n]
        offset = sum((each**2 for each in x), 0 * x[0]) * exact(self.margin)
        nothing = Polynomial({}, known)
        value = tuple((m.widened(known), *[nothing] * d) for m in self.template)
        fall = tuple(
            tuple(-part for part in self.dynamics.along(m)) for m in self.template
        )
        return tuple(
            Condition(parts, offset, self.outside, self.dynamics.with_ranges, True)
            for parts in (value, fall)
        )

    def _completed(self, proof: Proof) -> Proof:
        """The origin, where the tiles say nothing, needs a proof of its own."""
        known = self.dynamics.with_ranges(self.inner)
        near = min(
            inner_bound(condition.at(proof.theta, proof.beta), self.inner, known)
            for condition in self.conditions
        )
        holds = proof.holds and near > 0
        level = self.level(proof.beta) if holds else None
        return replace(proof, holds=holds, inner_eigenvalue=near, level=level)

    def level(self, beta: Any, pieces: int = 8) -> Fraction:
        """Return an exact lower bound of V on the boundary of the box.

        Parameters
        ----------
        beta : sequence of numbers
            Coefficients of V.
        pieces : int, default=8
            Parts of every side of a face; more of them give a sharper bound.

        Returns
        -------
        level : Fraction
            Sublevel sets ``V <= l`` with a smaller l are inside the box.
        """
        beta = exact_vector(beta, len(self.template), "beta")
        V = BernsteinForm(combine(beta, self.template))
        return Fraction(
            min(
                min(V.on(piece).flat)
                for face in self.box.faces()
                for piece in face.cut(pieces)
            )
        )
