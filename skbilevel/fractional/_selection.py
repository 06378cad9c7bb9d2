"""Which way to k features, and which k: nested cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.fractional._supports import (
    LassoPath,
    Moments,
    ScaledRows,
    by_ratio,
    exchanged,
    filled,
    lasso_path,
    pursuit,
    ridge,
)
from skbilevel.model_selection._resampling import Pair
from skbilevel.solvers import RatioResult

METHODS = ("lasso", "omp", "pcd", "exchange")
# Where k is not given: at most so many features, and one per so many rows.
_AT_MOST, _ROWS_PER_FEATURE, _GROWTH = 50, 4, 1.5
# Of the largest correlation, the strength of the ratio's l1 norm.
_AUTO = 0.1
# A candidate has to be better by more than rounding than one before it.
_ROUNDING = 1e-9
# Standard errors by which another way has to be better than exchanges.
_SURE = 2.0
# Up to so many sizes PCD is tried at all of them.
_NEAR = 3


# Parts of the mean held-out squared error, one for each set, by size and method.
Losses = dict[tuple[int, str], Array]


@record
class Selection:
    """Options of a search for features.

    Parameters
    ----------
    methods : tuple of str
        Of `METHODS`.
    sizes : list of int
        Numbers of features to choose from.
    alpha : float or None
        Strength of the ratio's l1 norm, relative to the largest correlation of a column
        with the target.
    tol, max_iter : float, int
        Of PCD.
    """

    methods: tuple[str, ...]
    sizes: list[int]
    alpha: float | None
    tol: float
    max_iter: int

    def supports(
        self, moments: Moments
    ) -> Iterator[tuple[str, int, Array, RatioResult | None]]:
        """Features by every method and size; one path serves all sizes."""
        p = len(moments.cross)
        if min(self.sizes) >= p:
            yield self.methods[0], p, np.arange(p), None
            return
        most = min(max(self.sizes), p - 1)
        path = LassoPath([]) if self.methods == ("omp",) else lasso_path(moments, most)
        pursued = {"omp", "exchange"} & set(self.methods)
        order = pursuit(moments, most) if pursued else np.arange(0)
        for size in self.sizes:
            for method in self.methods:
                end = None
                if method == "omp":
                    found = order[:size]
                else:
                    found = path.support(size)
                if method == "pcd":
                    found, end = self._ratio(moments, found, size)
                if method == "exchange":
                    starts = [filled(s, moments, size) for s in (found, order[:size])]
                    found = exchanged(moments, starts)
                yield method, size, filled(found, moments, size), end

    def _ratio(
        self, moments: Moments, start: Array, size: int
    ) -> tuple[Array, RatioResult | None]:
        # Of all features there is one choice.
        if not start.size or size >= len(moments.cross):
            return start, None
        x0 = np.zeros(len(moments.cross))
        x0[start] = ridge(moments, start)
        share = _AUTO if self.alpha is None else self.alpha
        alpha = share * float(np.abs(moments.cross).max(initial=0.0))
        return by_ratio(moments, size, x0, alpha, self.tol, self.max_iter)

    def choose(
        self,
        X: Any,
        y: Array,
        weight: Array,
        splits: Sequence[Pair],
        intercept: bool,
    ) -> tuple[str, int, dict[str, Array]]:
        """The method and size of the least held-out loss, and all losses.

        Features are selected anew in every training set. PCD, which costs most, is
        tried where the others are best. Exchanges are taken unless another way is
        better by two standard errors: they find the least squared error, and training
        sets, which are smaller, make them look worse than they are on all rows.
        """
        if len(self.methods) == len(self.sizes) == 1:
            only = {(self.sizes[0], self.methods[0]): np.array([np.nan])}
            return self.methods[0], self.sizes[0], _table(only)
        sets = [
            (ScaledRows.of(X[a], y[a], weight[a], intercept), X[b], y[b], weight[b])
            for a, b in splits
        ]
        quick = tuple(method for method in self.methods if method != "pcd")
        if len(quick) == len(self.methods) or not quick or len(self.sizes) <= _NEAR:
            losses = self._losses(sets)
        else:
            losses = replace(self, methods=quick)._losses(sets)
            place = self.sizes.index(_best(losses)[0])
            near = self.sizes[max(0, place - 1) : place + 2]
            losses |= replace(self, methods=("pcd",), sizes=near)._losses(sets)
        size, method = _best(losses)
        return method, size, _table(losses)

    def _losses(self, sets: Sequence[Any]) -> Losses:
        """Held-out squared errors by size and method, in parts that sum to means."""
        found: Losses = {}
        total = sum(float(weight.sum()) for *_, weight in sets)
        for k, (rows, X, y, weight) in enumerate(sets):
            for method, size, support, _ in self.supports(rows.moments):
                error = y - rows.predict(support, X)
                parts = found.setdefault((size, method), np.zeros(len(sets)))
                parts[k] = float(weight @ error**2) / total
        return found


def _best(losses: Losses) -> tuple[int, str]:
    """The first of equals: the fewest features, by the simplest way."""
    allowed = [key for key in _ordered(losses) if not _put_back(losses, key)]
    least = min(losses[key].sum() for key in allowed) * (1.0 + _ROUNDING)
    return next(key for key in allowed if losses[key].sum() <= least)


def _put_back(losses: Losses, key: tuple[int, str]) -> bool:
    """Whether exchanges of the same size are preferred, or surely worse."""
    size, method = key
    others = [other for other in losses if other[0] == size and other[1] != "exchange"]
    if (size, "exchange") not in losses or not others:
        return False
    best = min(others, key=lambda other: losses[other].sum())
    gain = losses[size, "exchange"] - losses[best]
    error = np.sqrt(len(gain)) * gain.std(ddof=1) if len(gain) > 1 else 0.0
    sure = gain.sum() > _SURE * error + _ROUNDING * losses[best].sum()
    return bool(sure) == (method == "exchange")


def _ordered(losses: Losses) -> list[tuple[int, str]]:
    return sorted(losses, key=lambda key: (key[0], METHODS.index(key[1])))


def _table(losses: Losses) -> dict[str, Array]:
    keys = _ordered(losses)
    return {
        "method": np.array([method for _, method in keys]),
        "n_features": np.array([size for size, _ in keys]),
        "score": -np.array([losses[key].sum() for key in keys]),
    }


def sizes_for(n_rows: float, p: int) -> list[int]:
    """Numbers of features to choose from: 1, 2, 3, 4, 6, ... to a quarter of rows."""
    most = int(max(1, min(p, n_rows // _ROWS_PER_FEATURE, _AT_MOST)))
    sizes, each = [1], 1.0
    while sizes[-1] < most:
        each = max(each * _GROWTH, each + 1.0)
        sizes.append(min(round(each), most))
    return sizes
