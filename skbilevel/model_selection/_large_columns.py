"""What rows or the user say of columns, and how few numbers shape their strengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._metadata import Metadata
from skbilevel.problems import metadata_transform
from skbilevel.problems._losses import facts_of


@record
class Statistics:
    """What the rows of a training set, or the user, say about the columns.

    Parameters
    ----------
    Z : ndarray of shape (g, q)
        Metadata of the penalized columns, or of the labels that stand for them.
    emphasis : ndarray of shape (g,)
        How much each row of Z counts; sums to one.
    labels : ndarray of int of shape (p,) or (p, t), or None
        Row of Z of every column, or of every column and class; None where rows of Z
        are columns.
    own : ndarray of shape (p, t, r) or None
        Metadata of every column and class; their sums over the classes are zero.
    """

    Z: Array
    emphasis: Array
    labels: Array | None = None
    own: Array | None = None


@record
class Coordinates:
    """Metadata centred and made orthonormal, as one training set wants it."""

    mean: Array
    T: Array
    own: Array | None = None

    @classmethod
    def of(cls, found: Statistics) -> Coordinates:
        """From what one training set says."""
        Z, weight = found.Z, found.emphasis
        mean = weight @ Z
        own = None
        if found.own is not None:
            _, t, r = found.own.shape
            flat = np.repeat(weight / t, t)
            # Apart from Z, to which they are orthogonal already.
            own = metadata_transform(found.own.reshape(-1, r), flat)
        return cls(mean, metadata_transform(Z, weight, mean), own)

    def apply(self, found: Statistics) -> Shape:
        """A constant column, then the others."""
        Z = np.hstack([np.ones((len(found.Z), 1)), (found.Z - self.mean) @ self.T])
        own = None
        if found.own is not None and self.own is not None:
            own = found.own @ self.own.astype(found.own.dtype)
        return Shape(Z, found.labels, own)


@record
class Shape:
    """``log v`` less its centre: ``(Z beta)[labels] + own gamma``.

    Parameters
    ----------
    Z : ndarray of shape (g, q)
        The first column is constant.
    labels, own : ndarray or None
        As in `Statistics`.
    """

    Z: Array
    labels: Array | None = None
    own: Array | None = None

    @property
    def size(self) -> int:
        """Length of ``(beta, gamma)``."""
        return int(self.Z.shape[1] + (0 if self.own is None else self.own.shape[2]))

    def shift(self, beta: Array) -> Array:
        """Shape (p,), or (p, t) where classes have strengths of their own."""
        q = self.Z.shape[1]
        out = self.Z @ beta[:q]
        out = out if self.labels is None else out[self.labels]
        if self.own is None:
            return np.asarray(out)
        return np.asarray(out[:, None] + self.own @ beta[q:])

    def pull(self, grad: Array) -> Array:
        """The transpose of `shift`."""
        total = grad
        if self.labels is not None:
            total = np.bincount(
                self.labels.ravel(), grad.ravel(), minlength=len(self.Z)
            )
        elif grad.ndim == 2:
            total = grad.sum(axis=1)
        out = self.Z.T @ total
        if self.own is None:
            return np.asarray(out)
        own = np.einsum("jcr,jc->r", self.own, grad, dtype=np.float64)
        return np.concatenate([out, own])

    def directions(self) -> Iterator[Array]:
        """`shift` of every unit vector."""
        return (self.shift(unit) for unit in np.eye(self.size))


# Numbers of rows where the slope in their logarithm may change.
_KNOTS = (3, 10, 50, 300)
# Rows of the class proportions that are added to those of a column.
_SHRINKAGE = 5.0
# Columns are interactions with the logarithm of the number of rows, from here.
_MIDDLE = 3.0


def column_statistics(
    problem: LargeProblem, index: Array, by_target: bool = False
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
    moments = _Moments.of(problem, problem.weight_of(index))
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


@record
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
    def of(cls, problem: LargeProblem, weight: Array) -> _Moments:
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


@record
class MetadataMaker:
    """Makes metadata of a training set from its rows.

    Parameters
    ----------
    problem : LargeProblem
        The rows.
    members : ndarray of shape (p,), or (p t,) with ``by_target``, or None
        Labels: strengths are then a function of these alone.
    metadata : Metadata or None
        Columns of the user, beside the intrinsic ones.
    by_target : bool
        Whether classes have strengths of their own.
    """

    problem: LargeProblem
    members: Array | None
    metadata: Metadata | None
    by_target: bool = False

    def of(self, index: Array) -> Statistics:
        """What some rows say."""
        if self.members is not None:
            return self._labels(self.members)
        found = column_statistics(self.problem, index, self.by_target)
        if self.metadata is None:
            return found
        given = self.metadata.of(self.problem.rows, index)
        return replace(found, Z=np.hstack([found.Z, given]))

    def _labels(self, members: Array) -> Statistics:
        count = np.bincount(members)
        t = self.problem.rows.n_targets if self.by_target else 1
        labels = members.reshape(-1, t) if self.by_target else members
        return Statistics(np.eye(len(count)), count / len(members), labels)
