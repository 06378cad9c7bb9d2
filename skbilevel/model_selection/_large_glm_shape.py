"""How few numbers shape the strengths of many columns, and of classes beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems import metadata_transform


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
        return cls(mean, metadata_transform(Z - mean, weight), own)

    def apply(self, found: Statistics) -> Shape:
        """A constant column, then the others."""
        Z = np.hstack([np.ones((len(found.Z), 1)), (found.Z - self.mean) @ self.T])
        own = None
        if found.own is not None and self.own is not None:
            own = found.own @ self.own.astype(found.own.dtype)
        return Shape(Z, found.labels, own)


@dataclass(frozen=True)
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
