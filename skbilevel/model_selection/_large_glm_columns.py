"""What the rows of a training set say about the strengths of their columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._large_glm_rows import LargeGLM
from skbilevel.problems import LogisticLoss, SoftmaxLoss

# Numbers of rows where the slope in their logarithm may change.
_KNOTS = (3, 10, 50, 300)
# Rows of the class proportions that are added to those of a column.
_SHRINKAGE = 5.0
# Columns are interactions with the logarithm of the number of rows, from here.
_MIDDLE = 3.0


@dataclass(frozen=True)
class ColumnStatistics:
    """Metadata of the penalized columns, and how much each of them counts.

    Parameters
    ----------
    Z : ndarray of shape (p, q)
        Metadata.
    emphasis : ndarray of shape (p,)
        Weights that sum to one: half even over the columns that occur, half by the
        root of the number of rows. Otherwise a step that is small on average moves
        the commonest columns far.
    """

    Z: Array
    emphasis: Array


def column_statistics(problem: LargeGLM, index: Array) -> ColumnStatistics:
    """From the rows ``index`` only: class statistics of other rows would leak.

    Logarithm of the number of rows in which a column is not zero, with a slope that
    changes at 3, 10, 50 and 300; logarithm of its root mean square where it is not
    zero; concentration of the classes in these rows (Kullback-Leibler divergence of
    their shrunk proportions from those of all rows); logarithm of its squared score at
    the null model in units of what noise would give. The last three interact with
    the first.
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
    for each in (size, moments.concentration, np.log1p(moments.score)):
        columns += [each, each * (rows - _MIDDLE)]
    columns.append(moments.concentration**2)
    root = np.sqrt(moments.count)
    total = max(float(root.sum()), 1e-300)
    emphasis = 0.5 * occurs / max(int(occurs.sum()), 1) + 0.5 * root / total
    return ColumnStatistics(np.stack(columns, axis=1), emphasis)


@dataclass(frozen=True)
class _Moments:
    """Sums over the rows: occurrences, squares, class divergence, score statistic."""

    count: Array
    square: Array
    concentration: Array
    score: Array

    @classmethod
    def of(cls, problem: LargeGLM, weight: Array) -> _Moments:
        rows, design = problem.rows, problem.design
        labels = rows.y
        if isinstance(problem.loss, LogisticLoss):
            labels = np.hstack([1.0 - labels, labels])
        mean = weight @ labels / max(float(weight.sum()), 1e-300)
        noise = weight @ (labels - mean) ** 2 / max(float(weight.sum()), 1e-300)
        spread, t = problem.layout.spread, labels.shape[1]
        cross = spread(design.rmatvec(weight[:, None] * (labels - mean)), 1)
        square = spread(design.column_squares(weight), 2)
        unit = square[:, None] * noise
        score = np.divide(cross**2, unit, out=np.zeros_like(cross), where=unit > 0)
        score = score.sum(axis=1) / t
        present = problem.present
        if present is None:
            count = np.full(rows.n_penalized, float(weight.sum()))
            return cls(count, square, np.zeros_like(count), score)
        count = spread(present.T @ weight, 0)
        if not isinstance(problem.loss, LogisticLoss | SoftmaxLoss):
            return cls(count, square, np.zeros_like(count), score)
        seen = spread(present.T @ (weight[:, None] * labels), 0)
        return cls(count, square, _divergence(seen, mean), score)


def _divergence(seen: Array, mean: Array) -> Array:
    """Kullback-Leibler divergence of shrunk class proportions from the mean ones."""
    share = seen + _SHRINKAGE * mean
    share /= share.sum(axis=1, keepdims=True)
    safe = np.where(mean > 0, mean, 1.0)
    ratio = np.log(np.where(share > 0, share / safe, 1.0))
    return np.asarray((share * ratio).sum(axis=1))
