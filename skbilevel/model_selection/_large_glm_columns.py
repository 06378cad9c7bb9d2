"""What the rows of a training set say about the strengths of their columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._large_glm_rows import LargeGLM
from skbilevel.model_selection._large_glm_shape import Statistics
from skbilevel.problems._losses import facts_of

# Numbers of rows where the slope in their logarithm may change.
_KNOTS = (3, 10, 50, 300)
# Rows of the class proportions that are added to those of a column.
_SHRINKAGE = 5.0
# Columns are interactions with the logarithm of the number of rows, from here.
_MIDDLE = 3.0


def column_statistics(
    problem: LargeGLM, index: Array, by_target: bool = False
) -> Statistics:
    """From the rows ``index`` only: class statistics of other rows would leak.

    Logarithm of the number of rows in which a column is not zero, with a slope that
    changes at 3, 10, 50 and 300; logarithm of its root mean square where it is not
    zero; concentration of the classes in these rows (Kullback-Leibler divergence of
    their shrunk proportions from those of all rows); logarithm of its squared score at
    the null model in units of what noise would give. The last three interact with
    the first.

    Every class by itself (``by_target``) adds, as departures from the mean over the
    classes: the logarithm of how much more frequent the class is in these rows than in
    all (shrunk likewise), and that of its own squared score.

    The emphasis is half even over the columns that occur, half by the root of the
    number of rows. Otherwise a step that is small on average moves the commonest
    columns far.
    """
    weight = np.zeros(problem.rows.n_rows)
    weight[index] = problem.rows.weight[index]
    moments = _Moments.of(problem, weight)
    occurs = moments.square > 0
    rows = np.log1p(moments.count)
    slopes = [np.maximum(rows - np.log1p(k), 0.0) for k in _KNOTS]
    size = 0.5 * np.log(np.where(occurs, moments.square, 1.0))
    size -= 0.5 * np.log(np.where(occurs, moments.count, 1.0))
    size = np.where(occurs, size - size[occurs].mean() if occurs.any() else 0.0, 0.0)
    columns = [rows, *slopes]
    score = np.log1p(moments.score.mean(axis=1))
    for each in (size, moments.concentration, score):
        columns += [each, each * (rows - _MIDDLE)]
    columns.append(moments.concentration**2)
    root = np.sqrt(moments.count)
    total = max(float(root.sum()), 1e-300)
    emphasis = 0.5 * occurs / max(int(occurs.sum()), 1) + 0.5 * root / total
    Z = np.stack(columns, axis=1)
    return Statistics(Z, emphasis, None, moments.of_classes() if by_target else None)


@dataclass(frozen=True)
class _Moments:
    """Sums over the rows: occurrences, squares, class divergence, score statistics.

    ``score`` is (p, t); so is ``enrichment``, the logarithm of shrunk proportions of
    the classes relative to those of all rows.
    """

    count: Array
    square: Array
    concentration: Array
    score: Array
    enrichment: Array | None = None

    def of_classes(self) -> Array:
        """Metadata (p, t, r) of every class beside the mean over the classes."""
        own = [np.log1p(self.score)]
        if self.enrichment is not None:
            own += [self.enrichment, abs(self.enrichment)]
        own = [each - each.mean(axis=1, keepdims=True) for each in own]
        return np.stack(own, axis=2).astype(np.float32)

    @classmethod
    def of(cls, problem: LargeGLM, weight: Array) -> _Moments:
        rows, design = problem.rows, problem.design
        indicators = facts_of(problem.loss).indicators(rows.y)
        labels = rows.y if indicators is None else indicators
        mean = weight @ labels / max(float(weight.sum()), 1e-300)
        noise = weight @ (labels - mean) ** 2 / max(float(weight.sum()), 1e-300)
        spread = problem.layout.spread
        cross = spread(design.rmatvec(weight[:, None] * (labels - mean)), 1)
        square = spread(design.column_squares(weight), 2)
        unit = square[:, None] * noise
        score = np.divide(cross**2, unit, out=np.zeros_like(cross), where=unit > 0)
        present = problem.present
        if present is None:
            count = np.full(rows.n_penalized, float(weight.sum()))
            return cls(count, square, np.zeros_like(count), score)
        count = spread(present.T @ weight, 0)
        if indicators is None:
            return cls(count, square, np.zeros_like(count), score)
        seen = spread(present.T @ (weight[:, None] * labels), 0)
        share, ratio = _enrichment(seen, mean)
        # Kullback-Leibler divergence of the shrunk proportions from the mean ones.
        divergence = (share * ratio).sum(axis=1)
        return cls(count, square, divergence, score, ratio)


def _enrichment(seen: Array, mean: Array) -> tuple[Array, Array]:
    """Shrunk class proportions, and the logarithm of their ratio to the mean ones."""
    share = seen + _SHRINKAGE * mean
    share /= share.sum(axis=1, keepdims=True)
    safe = np.where(mean > 0, mean, 1.0)
    return share, np.log(np.where(share > 0, share / safe, 1.0))
