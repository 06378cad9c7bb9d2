"""Rows in working units: columns of variance one, and who may differ between tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._columns import column_labels, unpenalized_mask
from skbilevel.linear_model._counts import RowCounts
from skbilevel.model_selection._task_folds import SQUARED, TaskLoss, TaskRows
from skbilevel.model_selection._task_search import TaskColumns

# Where scales differ by more than this, shared strengths count columns as if scaled.
_SCALE_RATIO = 100.0
# The centre is free where there are so many rows per column ...
_ROWS_PER_COLUMN = 5.0
# ... and the least eigenvalue of the correlations is not below this.
_FULL_RANK = 1e-7
# Columns have a mean square of one; rounding leaves a column of one value less.
_STILL = 1e-20


@record
class Units:
    """From user units to working units and back.

    Working rows are ``[1, (x - shift) / scale]`` (without the one where there is no
    intercept), working targets ``(y - y_shift) / y_scale``. ``weight`` is the user's
    weight over that of the fit.
    """

    intercept: bool
    shift: Array
    scale: Array
    y_shift: float
    y_scale: float
    weight: float

    @classmethod
    def of(
        cls, X: Array, y: Array | None, weight: Array, intercept: bool, unit: float
    ) -> Units:
        """Weighted means and standard deviations of all rows; y None has none."""
        total = weight.sum()
        shift = weight @ X / total if intercept else np.zeros(X.shape[1])
        scale = np.sqrt(weight @ (X - shift) ** 2 / total)
        # A constant column, up to rounding, has no scale.
        flat = scale <= 1e-12 * np.maximum(np.abs(X).max(axis=0), 1e-300)
        scale = np.where(flat, 1.0, scale)
        if y is None:
            return cls(intercept, shift, scale, 0.0, 1.0, unit)
        y_shift = float(weight @ y / total) if intercept else 0.0
        y_scale = float(np.sqrt(weight @ (y - y_shift) ** 2 / total))
        size = max(float(np.abs(y).max()), 1e-300)
        y_scale = y_scale if y_scale > 1e-12 * size else 1.0
        return cls(intercept, shift, scale, y_shift, y_scale, unit)

    def design(self, X: Array) -> Array:
        """Working rows (n, q)."""
        first = int(self.intercept)
        Z = np.ones((len(X), X.shape[1] + first))
        np.subtract(X, self.shift, out=Z[:, first:])
        Z[:, first:] /= self.scale
        return Z

    def target(self, y: Array) -> Array:
        """Working targets."""
        return (y - self.y_shift) / self.y_scale

    def coefficients(self, w: Array) -> tuple[Array, Array]:
        """Coefficients (..., p) and intercepts (...) from working ones (..., q)."""
        first = int(self.intercept)
        coef = self.y_scale * w[..., first:] / self.scale
        if not first:
            return coef, np.zeros(w.shape[:-1])
        level = self.y_shift + self.y_scale * w[..., 0]
        return coef, level - coef @ self.shift

    def strengths(self, v: Array) -> tuple[Array, float]:
        """Strengths of columns and of the level, from working variances."""
        with np.errstate(divide="ignore"):
            alpha = self.weight / np.asarray(v)
        if not self.intercept:
            return alpha * self.scale**2, np.inf
        return alpha[..., 1:] * self.scale**2, float(np.asarray(alpha[..., 0]).min())


@record
class TaskOptions:
    """Parameters of the estimator that say what may differ, and its loss.

    ``centred`` says whether the target has a mean and a scale of its own.
    """

    fit_intercept: bool
    common: Any
    feature_groups: Any
    centre_alpha: float | None
    loss: TaskLoss

    @property
    def centred(self) -> bool:
        """Whether targets are shifted and scaled."""
        return self.loss is SQUARED


@record
class TaskDesign:
    """Everything that a search needs: rows, columns, units; labels of the groups."""

    rows: TaskRows
    columns: TaskColumns
    units: Units
    group_labels: Array | None
    members: Array | None

    @classmethod
    def of(
        cls,
        X: Array,
        y: Array,
        counts: RowCounts,
        task: Array,
        n_tasks: int,
        names: Array | None,
        options: TaskOptions,
    ) -> TaskDesign:
        """From all rows; targets and places of tasks are those of rows that count."""
        X, weight = np.asarray(counts.take(X), dtype=np.float64), counts.weight
        first = int(options.fit_intercept)
        given = y if options.centred else None
        units = Units.of(X, given, weight, options.fit_intercept, counts.unit)
        Z, target = units.design(X), units.target(y)
        rows = TaskRows(Z, target, weight, task, n_tasks, options.loss)
        common = unpenalized_mask(options.common, X.shape[1], names, "common")
        deviates = np.r_[
            np.ones(first, bool), ~common & ~constant_within(X, task, n_tasks)
        ]
        deviates &= n_tasks > 1
        labels = members = None
        if options.feature_groups is not None:
            every = column_labels(options.feature_groups, X.shape[1], names)
            labels, members = np.unique(every, return_inverse=True)
        own = np.arange(X.shape[1]) if members is None else members
        gram = (Z * weight[:, None]).T @ Z / weight.sum()
        columns = cls._columns(units, gram, weight.sum(), deviates, own, options)
        return cls(rows, columns, units, labels, members)

    @staticmethod
    def _columns(
        units: Units,
        gram: Array,
        n_rows: float,
        deviates: Array,
        own: Array,
        options: TaskOptions,
    ) -> TaskColumns:
        first = int(units.intercept)
        square = units.scale**2
        moves = np.diagonal(gram)[first:] > _STILL
        varied = units.scale[moves]
        if len(varied) and varied.max() > _SCALE_RATIO * varied.min():
            square = np.ones_like(square)
        square = square / np.exp(np.log(square).mean())
        beta, tuned = 1.0 / square, False
        if options.centre_alpha is not None:
            beta = options.centre_alpha / (units.weight * units.scale**2)
        elif options.centred and free_centre(
            gram[first:, first:][moves][:, moves], n_rows
        ):
            # A column of one value has no effect, whatever its strength.
            beta = np.where(moves, 0.0, beta)
        else:
            tuned = True
        return TaskColumns(
            units.intercept,
            deviates,
            np.r_[np.zeros(first, int), own],
            np.r_[np.ones(first), square],
            np.r_[np.zeros(first), beta],
            tuned,
        )


def free_centre(gram: Array, n_rows: float) -> bool:
    """Whether all rows together determine the centre without a penalty.

    Of classes they never do: where columns separate them, coefficients are infinite.
    """
    if n_rows <= _ROWS_PER_COLUMN * len(gram):
        return False
    if not len(gram):
        return True
    return bool(np.linalg.eigvalsh(gram).min() > _FULL_RANK)


def constant_within(X: Array, task: Array, n_tasks: int) -> Array:
    """Columns that have one value in all rows of a task, whichever the task."""
    order = np.argsort(task, kind="stable")
    sorted_X = X[order]
    first = np.searchsorted(task[order], np.arange(n_tasks))
    low = np.minimum.reduceat(sorted_X, first, axis=0)
    high = np.maximum.reduceat(sorted_X, first, axis=0)
    return np.asarray((high == low).all(axis=0))
