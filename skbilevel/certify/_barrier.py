"""Barrier certificates: states that trajectories do not reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from skbilevel.certify._certificate import Certificate
from skbilevel.certify._conditions import Condition
from skbilevel.certify._dynamics import Dynamics
from skbilevel.certify._exact import Box, Number, exact
from skbilevel.certify._polynomials import Polynomial


@dataclass(frozen=True)
class BarrierCertificate(Certificate):
    """A function B that is negative at the start and can't rise through zero.

    ::

        B = sum_k beta_k m_k(x),   |beta_k| <= 1
        -B + c >= 0 on start,   B - g + c >= 0 on unsafe,
        rate B - grad B . f(x, s, theta) + c >= 0 on box

    for all parameters s. g is the margin and c the slack. By the last line
    ``B(x(t)) <= exp(rate t) B(x(0))``, which is negative.

    What a proof claims: no trajectory that starts in a start box reaches an unsafe box
    before it leaves the box, for the stated model and parameter interval, in continuous
    time. The box itself need not be invariant. With the faces of the box
    (``box.faces()``) among the unsafe ones, no trajectory leaves it either.

    Parameters
    ----------
    dynamics : Dynamics
        The system.
    template : sequence of Polynomial
        The m_k, a constant among them; see `monomials`.
    box : Box
        States that are looked at.
    start, unsafe : sequence of Box
        Parts of the box: where trajectories begin, and where they must not get.
    rate : number, default=-1
        Any number is sound; a negative one asks less where B is negative.
    margin : number, default="0.05"
        g, at least zero.
    tiles : int, default=8
        Parts of every side of the box.
    degree : int or None, default=None
        Of the program's Bernstein forms in every state; None is the lowest possible.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or ``degree`` is too low, which names the
        one needed.

    See Also
    --------
    LyapunovCertificate : Sets that trajectories do not leave.

    References
    ----------
    Y. Wang, S. Zhan, Z. Wang, C. Huang, Z. Wang, Z. Yang, Q. Zhu (2023). Joint
    differentiable optimization and verification for certified reinforcement learning.
    ICCPS.

    Examples
    --------
    >>> from skbilevel.certify import BarrierCertificate, Box, Dynamics, monomials
    >>> certificate = BarrierCertificate(
    ...     Dynamics(lambda x, theta, s: [-theta[0] * x[0]], 1, 1),
    ...     monomials(1, 0, 2),
    ...     Box([-2], [2]),
    ...     start=[Box([-1], [1])],
    ...     unsafe=Box([-2], [2]).faces(),
    ... )
    >>> slack = certificate.solve([1.0])
    >>> certificate.prove([1.0], slack.beta).holds
    True
    >>> certificate.prove([-1.0], slack.beta).holds
    False
    """

    _claim: ClassVar[str] = (
        "No trajectory that starts in a start box reaches an unsafe box before it "
        "leaves the box, for the stated model and parameter interval, in continuous "
        "time; the box itself need not be invariant."
    )

    dynamics: Dynamics
    template: Sequence[Polynomial]
    box: Box
    start: Sequence[Box]
    unsafe: Sequence[Box]
    rate: Number = -1
    margin: Number = "0.05"
    tiles: int = 8
    degree: int | None = None

    def __post_init__(self) -> None:
        self._check_parts()
        for name in ("start", "unsafe"):
            boxes = getattr(self, name)
            listed = isinstance(boxes, Sequence) and len(boxes) > 0
            if not listed or not all(self.box.contains(each) for each in boxes):
                raise ValueError(f"{name} must be a list of boxes inside the box.")
        self._check_degree()

    @property
    def normal(self) -> None:
        """There is no equation: the bounds of beta set the scale."""

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Negative at the start, positive where unsafe, and what the flow may do."""
        known, d = self.dynamics.n_known, self.dynamics.n_theta
        nothing = Polynomial({}, known)
        rest = [nothing] * d
        wide = [member.widened(known) for member in self.template]
        flow = []
        for member, own in zip(self.template, wide, strict=True):
            constant, *factors = self.dynamics.along(member)
            flow.append((own * self.rate - constant, *(-each for each in factors)))
        few = max(1, self.tiles // 4)

        def condition(
            parts: Iterable[tuple[Polynomial, ...]],
            boxes: Sequence[Box],
            pieces: int,
            offset: Polynomial = nothing,
        ) -> Condition:
            tiles = tuple(tile for each in boxes for tile in each.cut(pieces))
            return Condition(tuple(parts), offset, tiles, self.dynamics.with_ranges)

        margin = nothing + exact(self.margin)
        return (
            condition(((-own, *rest) for own in wide), self.start, few),
            condition(((own, *rest) for own in wide), self.unsafe, few, margin),
            condition(flow, [self.box], self.tiles),
        )
