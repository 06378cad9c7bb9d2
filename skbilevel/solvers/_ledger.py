"""Counting oracle calls of a problem without a line of it in any solver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._oracles import InnerProblem, OracleProblem, OuterProblem
from skbilevel.solvers._base import Counts


class Ledger:
    """Adds up oracle calls; the one thing that counted points share and change.

    A *pass* is one reading of all rows, forth and back: a product with X and one with
    its transpose. A gradient or a Hessian product on ``r`` rows costs ``r`` rows of
    it, a value half as much, and nothing where the gradient at the point is known.

    What a linear problem finds out about its own data is not counted: the largest
    eigenvalue of each task's mean loss, once per problem, takes 16 Hessian products.
    """

    def __init__(self, n_rows: int) -> None:
        self.n_rows = max(n_rows, 1)
        self._calls: dict[str, int] = {}
        self.rows = 0.0

    def add(self, rows: float, share: float, **calls: int) -> None:
        """Note calls that read a share of some rows."""
        for name, number in calls.items():
            self._calls[name] = self._calls.get(name, 0) + number
        self.rows += share * rows

    @property
    def passes(self) -> float:
        """Passes over the rows of both levels."""
        return self.rows / self.n_rows

    @property
    def total(self) -> Counts:
        """All that was noted."""
        return Counts(**self._calls, passes=self.passes)


def counted(problem: OracleProblem) -> tuple[OracleProblem, Ledger]:
    """The same problem, with a ledger of all calls of its oracles."""
    ledger = Ledger(rows_of(problem.inner) + rows_of(problem.outer))
    inner: Any = CountedLevel(problem.inner, ledger)
    outer: Any = CountedLevel(problem.outer, ledger)
    return replace(problem, inner=inner, outer=outer), ledger


def rows_of(level: InnerProblem | OuterProblem) -> int:
    """Rows of one level; a level that is no mean counts as one row."""
    return level.n_rows or 1


@record
class CountedLevel:
    """An inner or an outer problem whose calls are noted."""

    problem: Any
    ledger: Ledger

    def take(self, rows: Array) -> CountedLevel:
        """Some rows, counted in the same ledger."""
        return replace(self, problem=self.problem.take(rows))

    def at(self, theta: Array, w: Array) -> CountedPoint:
        """A counted point."""
        return CountedPoint(self.problem.at(theta, w), self)

    def __getattr__(self, name: str) -> Any:
        # Whatever else a problem provides, such as bounds, or codes of rows.
        return getattr(self.problem, name)

    def grad_codes(self, theta: Array, w: Array) -> Array:
        """A product with X: half a gradient."""
        self.ledger.add(rows_of(self.problem), 0.5, n_grad=1)
        return np.asarray(self.problem.grad_codes(theta, w))

    def assemble_grad(self, codes: Array) -> Array:
        """A product with its transpose: the other half."""
        self.ledger.add(rows_of(self.problem), 0.5)
        return np.asarray(self.problem.assemble_grad(codes))

    def grad_many(self, thetas: Array, ws: Array) -> Array:
        """One reading for each, though the product may be one."""
        m = len(ws)
        self.ledger.add(m * rows_of(self.problem), 1.0, n_grad=m)
        return np.asarray(self.problem.grad_many(thetas, ws))


class CountedPoint:
    """A point whose calls are noted; what is known already costs nothing."""

    def __init__(self, point: Any, level: CountedLevel) -> None:
        self._point, self._ledger = point, level.ledger
        self._rows = rows_of(level.problem)
        self._seen: set[str] = set()

    def _note(self, name: str, share: float, **calls: int) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._ledger.add(self._rows, share, **calls)

    @property
    def value(self) -> float:
        """Half a reading, unless the gradient is known."""
        self._note("value", 0.0 if "grad" in self._seen else 0.5, n_evaluations=1)
        return float(self._point.value)

    @property
    def grad(self) -> Array:
        """One reading, half of it where the value is known."""
        self._note("grad", 0.5 if "value" in self._seen else 1.0, n_grad=1)
        return np.asarray(self._point.grad)

    @property
    def grad_theta(self) -> Array:
        """Counted with the gradient."""
        return np.asarray(self._point.grad_theta)

    def hvp(self, d: Array) -> Array:
        """One reading."""
        self._ledger.add(self._rows, 1.0, n_hvp=1)
        return np.asarray(self._point.hvp(d))

    def cross(self, d: Array) -> Array:
        """No reading where theta enters through a penalty, one elsewhere."""
        free = bool(getattr(self._point, "cross_is_free", False))
        self._ledger.add(self._rows, 0.0 if free else 1.0, n_cross=1)
        return np.asarray(self._point.cross(d))

    def third(self, d: Array) -> float:
        """One product with X, which is half a reading."""
        self._ledger.add(self._rows, 0.5)
        return float(self._point.third(d))

    def hessian(self) -> Array:
        """One reading for every column would be the price of products."""
        self._ledger.add(self._rows, 1.0, n_hessian=1)
        return np.asarray(self._point.hessian())
