"""Signs on tiles, as linear inequalities for the coefficients of a certificate.

A condition is that a polynomial of the states and the uncertain numbers, linear in the
coefficients beta of the certificate and affine in theta, is positive on a list of
tiles. Its Bernstein coefficients are as linear. Rows are divided by the scale of their
tile (one, or its squared radius), so that one slack c fits all of them::

    A(theta) beta + c >= b,     A(theta) = A_0 + sum_j theta_j A_j
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.certify._bernstein import along_axes, power_matrix, power_tensor
from skbilevel.certify._exact import Box, Number
from skbilevel.certify._polynomials import Polynomial, combine


@record
class Condition:
    """``sum_k beta_k p_k(x, s, theta) > 0`` on every tile.

    Parameters
    ----------
    parts : tuple of tuples of Polynomial
        For every k the constant of p_k and its factor of every theta, in (x, s).
    offset : Polynomial
        What the program, not the proof, asks the sum to exceed.
    tiles : tuple of Box
        Boxes of states.
    ranges : callable
        From a tile of states to the box of (x, s) over it.
    relative : bool
        Whether the slack is relative to the squared radius of a tile.
    """

    parts: tuple[tuple[Polynomial, ...], ...]
    offset: Polynomial
    tiles: tuple[Box, ...]
    ranges: Callable[[Box], Box]
    relative: bool = False

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of (x, s) over the tiles."""
        return tuple(map(self.ranges, self.tiles))

    @property
    def degrees(self) -> tuple[int, ...]:
        """The lowest degree in every variable that holds all parts."""
        everything = [self.offset, *(p for part in self.parts for p in part)]
        return tuple(map(max, zip(*(p.degrees for p in everything), strict=True)))

    def at(self, theta: Sequence[Number], beta: Sequence[Number]) -> Polynomial:
        """Return the polynomial for exact theta and beta, without the offset."""
        return combine(beta, [combine((1, *theta), part) for part in self.parts])

    def rows(self, degree: int | None) -> tuple[Array, Array]:
        """Return A of shape (n, len(beta), 1 + len(theta)) and b, in doubles."""
        degrees = raised(self.degrees, degree, len(self.tiles[0].sides))
        tensors = [power_tensor(self.offset, degrees)]
        tensors += [power_tensor(p, degrees) for part in self.parts for p in part]
        stack = np.array(tensors).astype(float)
        # Tiles share sides.
        matrix = cache(lambda side, degree: power_matrix(side, degree).astype(float))
        found = []
        for tile, box in zip(self.tiles, self.boxes, strict=True):
            matrices = list(map(matrix, box.sides, degrees))
            scale = float(tile.squared_radius) if self.relative else 1.0
            values = along_axes(stack, matrices) / scale
            found.append(values.reshape(len(stack), -1).T)
        rows = np.concatenate(found)
        return rows[:, 1:].reshape(len(rows), len(self.parts), -1), rows[:, 0]


def raised(needed: Sequence[int], degree: int | None, n_states: int) -> tuple[int, ...]:
    """Return the degrees of the form: those needed, or one for all states."""
    if degree is None:
        return tuple(needed)
    if max(needed[:n_states]) > degree:
        raise ValueError(
            f"degree={degree} is too low for the conditions; at least "
            f"{max(needed[:n_states])} is needed."
        )
    return (degree,) * n_states + tuple(needed[n_states:])
