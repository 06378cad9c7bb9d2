"""Strengths as a function of feature metadata, and deviations from it.

``log v = shared + Z beta`` with Z centred and orthonormal over the features, so that
``|beta|^2`` is the mean squared departure from the shared strength. Columns that a
callable makes are made from the rows of each training set; while beta is tuned, from
the training half alone, so that no row speaks about its own error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._device_array import as_given
from skbilevel._typing import Array
from skbilevel.problems import metadata_transform
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._resampled import LeastSquaresModel
from skbilevel.solvers.outer._gauss_newton import DeviationPenalty, gauss_newton_path

# Halvings on which columns of a callable are made anew: a call may be expensive.
_CALLS = 4
_STEPS = 4
_REACH = 8.0


@dataclass(frozen=True)
class Metadata:
    """Metadata columns of the penalized features.

    Parameters
    ----------
    source : ndarray of shape (n_features, q) or callable
        A row for every column of X, or ``f(X, y, sample_weight)`` that makes them.
    y_scale : float
        Turns working targets into those of the user.
    """

    source: Array | Callable[[Any, Array, Array], Any]
    y_scale: float = 1.0

    @classmethod
    def given(cls, source: Any, rows: AugmentedRows, y_scale: float) -> Metadata | None:
        """What the user gave, checked."""
        if source is None:
            return None
        if not callable(source):
            source = check_metadata(source, rows.X.shape[1])
        return cls(source, y_scale)

    @property
    def depends_on_rows(self) -> bool:
        """Whether columns differ between training sets."""
        return callable(self.source)

    def of(self, rows: AugmentedRows, index: Array) -> Array:
        """Columns (p, q) from some rows."""
        Z = self.source
        if callable(Z):
            whole = len(index) == rows.n_rows
            X = as_given(rows.X if whole else rows.X[index])
            y = rows.y[index] * self.y_scale
            y = y[:, 0] if y.shape[1] == 1 else y
            Z = check_metadata(Z(X, y, rows.weight[index].copy()), rows.X.shape[1])
        return np.asarray(Z[rows.penalized])


def check_metadata(Z: Any, n_features: int) -> Array:
    """Metadata as a finite array of shape (n_features, q).

    Text columns have to be encoded by the user: how is part of the model.
    """
    try:
        Z = np.asarray(Z, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "feature_metadata has to hold numbers; encode text or categories as "
            "columns of numbers, for example with OneHotEncoder."
        ) from error
    Z = Z[:, None] if Z.ndim == 1 else Z
    if Z.ndim != 2 or len(Z) != n_features or Z.shape[1] == 0:
        raise ValueError(
            f"feature_metadata has shape {Z.shape}, but X has {n_features} features: "
            "it needs one row per feature and at least one column."
        )
    if not np.isfinite(Z).all():
        raise ValueError(
            "feature_metadata holds NaN or inf; give every feature finite numbers."
        )
    return np.asarray(Z)


@dataclass(frozen=True)
class MetadataStage:
    """Metadata columns of F training sets in coordinates of the strengths.

    Parameters
    ----------
    full : ndarray of shape (F, g, q)
        Columns of the training sets; the first is constant.
    halves : list of ndarray of shape (F, g, q), or None
        Columns from the training part of every inner resample, in the same
        coordinates; None where they do not depend on rows.
    """

    full: Array
    halves: list[Array] | None

    @classmethod
    def of(cls, trainer: Any, metadata: Metadata, A: Array | None) -> MetadataStage:
        """Columns of a trainer's sets; averaged where strengths cover features."""
        full, halves = [], []
        n_halves = min(_CALLS, *(len(s.halves) for s in trainer.sets))
        for training in trainer.sets:
            Z = _averaged(metadata.of(trainer.rows, training.rows), A)
            mean = Z.mean(axis=0)
            T = metadata_transform(Z, mean=mean)
            full.append(with_constant((Z - mean) @ T))
            if metadata.depends_on_rows:
                parts = [metadata.of(trainer.rows, a) for a, _ in training.halves]
                parts = [_averaged(each, A) for each in parts[:n_halves]]
                halves.append([with_constant((each - mean) @ T) for each in parts])
        q = max(each.shape[1] for each in full)
        stacked = np.stack([_padded(each, q) for each in full])
        if not halves:
            return cls(stacked, None)
        by_half = [
            np.stack([_padded(own[h], q) for own in halves]) for h in range(n_halves)
        ]
        return cls(stacked, by_half)

    def path(
        self,
        trainer: Any,
        lambdas: tuple[float, ...],
        strengths: Any,
        base: Array,
        bounds: tuple[Array, Array],
    ) -> list[Array]:
        """``theta`` (F, g) at every hyperpenalty on the mean squared departure."""

        def theta_of(Z: Array, beta: Array) -> Array:
            return np.clip(base + (Z @ beta[..., None])[..., 0], *bounds)

        def model(beta: Array) -> LeastSquaresModel:
            if self.halves is None:
                log_v = strengths.expand(theta_of(self.full, beta))
                found = strengths.pull_back(trainer.halves(log_v))
                return found.pull_back(self.full)
            parts = []
            for h, Z in enumerate(self.halves):
                log_v = strengths.expand(theta_of(Z, beta))
                part = strengths.pull_back(trainer.half(h, log_v, share))
                parts.append(part.pull_back(Z))
            return _sum(parts)

        made, all_ = len(self.halves or ()), len(trainer.sets[0].halves)
        share = made / all_ if made else 1.0
        F, _, q = self.full.shape
        beta = np.zeros((F, q))
        constant = np.zeros((1, q, 1))
        constant[0, 0] = 1.0
        penalty = DeviationPenalty(constant)
        largest = np.abs(self.full).max(axis=1)
        reach = _REACH / np.where(largest > 0, largest, 1.0)
        # The penalty of a step is a mean over its unknowns; this one is a sum.
        sums = [lam * q for lam in lambdas]
        path = gauss_newton_path(model, beta, sums, penalty, _STEPS, (-reach, reach))
        return [theta_of(self.full, beta) for beta in path]


def _sum(parts: list[LeastSquaresModel]) -> LeastSquaresModel:
    """One model of the sum of objectives."""

    def product(x: Array) -> Array:
        return np.asarray(sum(part.product(x) for part in parts))

    value = np.asarray(sum(part.value for part in parts))
    grad = np.asarray(sum(part.grad for part in parts))
    formed = [part.normal for part in parts if part.normal is not None]
    if len(formed) == len(parts):
        return LeastSquaresModel.of(value, grad, np.asarray(sum(formed)))
    return LeastSquaresModel(value, grad, product, None)


def _averaged(Z: Array, A: Array | None) -> Array:
    """One row for every strength: the mean over the features it covers."""
    return Z if A is None else np.asarray((A.T @ Z) / A.sum(axis=0)[:, None])


def with_constant(Z: Array) -> Array:
    """The columns behind one of ones."""
    return np.hstack([np.ones((len(Z), 1)), Z])


def _padded(Z: Array, q: int) -> Array:
    """Zero columns where a set has fewer independent ones."""
    return np.pad(Z, ((0, 0), (0, q - Z.shape[1])))
