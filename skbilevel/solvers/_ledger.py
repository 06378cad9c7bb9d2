"""Counting oracle calls of a problem without a line of it in any solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._oracles import (
    InnerPoint,
    InnerProblem,
    OracleProblem,
    OuterPoint,
    OuterProblem,
)
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
    def counts(self) -> Counts:
        """Calls, without passes."""
        return Counts(**self._calls)

    @property
    def total(self) -> Counts:
        """All that was noted."""
        return replace(self.counts, passes=self.passes)


def counted(problem: OracleProblem) -> tuple[OracleProblem, Ledger]:
    """The same problem, with a ledger of all calls of its oracles."""
    ledger = Ledger(rows_of(problem.inner) + rows_of(problem.outer))
    inner = CountedInner(problem.inner, ledger)
    outer = CountedOuter(problem.outer, ledger)
    return replace(problem, inner=inner, outer=outer), ledger


def rows_of(level: InnerProblem | OuterProblem) -> int:
    """Rows of one level; a level that is no mean counts as one row."""
    return level.n_rows or 1


@record
class _Counted:
    """What both levels have in common."""

    problem: InnerProblem | OuterProblem
    ledger: Ledger

    @property
    def provides(self) -> frozenset[str]:
        """Those of the problem."""
        return self.problem.provides

    @property
    def n_rows(self) -> int:
        """Rows of the problem."""
        return self.problem.n_rows

    def take(self, rows: Array) -> Any:
        """Some rows, counted in the same ledger."""
        return replace(self, problem=self.problem.take(rows))

    def __getattr__(self, name: str) -> Any:
        # Whatever else a problem provides, such as codes of rows.
        return getattr(self.problem, name)


class _CountedPoint:
    """A point whose calls are noted; what is known already costs nothing."""

    def __init__(self, point: InnerPoint | OuterPoint, level: _Counted) -> None:
        self._point: Any = point
        self._ledger = level.ledger
        self._rows = rows_of(level.problem)
        self._seen: set[str] = set()

    def _note(self, name: str, share: float, calls: dict[str, int]) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._ledger.add(self._rows, share, **calls)

    @property
    def value(self) -> float:
        """Half a reading, unless the gradient is known."""
        share = 0.0 if "grad" in self._seen else 0.5
        self._note("value", share, {"n_evaluations": 1})
        return float(self._point.value)

    @property
    def grad(self) -> Array:
        """One reading, half of it where the value is known."""
        share = 0.5 if "value" in self._seen else 1.0
        self._note("grad", share, {"n_grad": 1})
        return np.asarray(self._point.grad)


@record
class CountedInner(_Counted):
    """An inner problem whose calls are noted."""

    problem: InnerProblem
    ledger: Ledger

    @property
    def smoothness(self) -> Callable[[Array], Any] | None:
        """That of the problem."""
        return self.problem.smoothness

    def at(self, theta: Array, w: Array) -> CountedInnerPoint:
        """A counted point."""
        return CountedInnerPoint(self.problem.at(theta, w), self)

    def grad_codes(self, theta: Array, w: Array) -> Array:
        """A product with X: half a gradient."""
        self.ledger.add(rows_of(self.problem), 0.5, n_grad=1)
        return self.problem.grad_codes(theta, w)  # type: ignore[attr-defined,no-any-return]

    def assemble_grad(self, codes: Array) -> Array:
        """A product with its transpose: the other half."""
        self.ledger.add(rows_of(self.problem), 0.5)
        return self.problem.assemble_grad(codes)  # type: ignore[attr-defined,no-any-return]

    def grad_many(self, thetas: Array, ws: Array) -> Array:
        """One reading for each, though the product may be one."""
        m = len(ws)
        self.ledger.add(m * rows_of(self.problem), 1.0, n_grad=m)
        return self.problem.grad_many(thetas, ws)  # type: ignore[attr-defined,no-any-return]


class CountedInnerPoint(_CountedPoint):
    """A point of `CountedInner`."""

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


@record
class CountedOuter(_Counted):
    """An outer problem whose calls are noted."""

    problem: OuterProblem
    ledger: Ledger

    def at(self, theta: Array, w: Array) -> CountedOuterPoint:
        """A counted point."""
        return CountedOuterPoint(self.problem.at(theta, w), self)


class CountedOuterPoint(_CountedPoint):
    """A point of `CountedOuter`."""

    @property
    def grad_theta(self) -> Array:
        """Counted with the gradient."""
        return np.asarray(self._point.grad_theta)
