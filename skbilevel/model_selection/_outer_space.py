"""What is searched: strengths, limits and hyperpenalty as one outer vector."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._criterion import OuterVector
from skbilevel.model_selection._metadata import Metadata, with_constant
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    ByTarget,
    FeatureStrengths,
    GroupStrengths,
    Hyperpenalty,
    MetadataStrengths,
    Parametrization,
    SmoothPenalty,
    SparsePenalty,
    metadata_transform,
)
from skbilevel.problems._moments import AugmentedRows

# Variances never exceed this over the trace of the Gram matrix: beyond it ridge is
# least squares to rounding, and factorizations lose definiteness.
_LARGEST = 1e12
# Limits of log v around its start where a logarithm is taken of it.
_REACH = 25.0
# The same for solvers that take no infinite strength: the box of the literature.
_FINITE_REACH = 12.0


@record
class FoldMetadata:
    """Metadata of the penalized columns, and of the same columns in every fold.

    Parameters
    ----------
    Z : ndarray of shape (p, r)
        A constant column and the given ones, turned orthonormal over the features.
    per_fold : tuple of ndarray or None
        The same turn applied to what was computed in every training set; None where
        metadata do not depend on rows.
    """

    Z: Array
    per_fold: tuple[Array, ...] | None = None

    @classmethod
    def of(
        cls,
        metadata: Metadata,
        views: RowViews,
        splits: Sequence[Pair],
    ) -> FoldMetadata:
        """From what the user gave."""
        rows = views.full
        plain = with_constant(metadata.of(rows, np.arange(rows.n_rows)))
        turn = metadata_transform(plain, _feature_weight(rows))
        if not metadata.depends_on_rows or not splits:
            return cls(plain @ turn)
        folds = [
            with_constant(metadata.of(views.fold(k).rows, train)) @ turn
            for k, (train, _) in enumerate(splits)
        ]
        return cls(plain @ turn, tuple(folds))


def _feature_weight(rows: AugmentedRows) -> Array | None:
    """Common features count more: half equal, half by the root of their counts."""
    p = rows.n_penalized
    if not sparse.issparse(rows.X) or not p:
        return None
    each = np.repeat(rows.weight, np.diff(rows.X.indptr))
    counts = np.bincount(rows.X.indices, each, minlength=rows.X.shape[1])
    root = np.sqrt(counts[rows.penalized])
    return 0.5 / p + 0.5 * root / max(float(root.sum()), 1.0)


@record
class OuterSpace:
    """All that the user says about strengths, in variances of scaled columns.

    Parameters
    ----------
    n_features : int
        Number of penalized columns p.
    members : ndarray of shape (p,) or None
        Label of the strength of every column, None for one each.
    metadata : FoldMetadata or None
        Strengths as a function of metadata.
    low, high : ndarray of shape (p,)
        Limits of the variances, low = 0 where a feature may be removed.
    family : {"none", "smooth", "sparse"}
        Hyperpenalty.
    value : float
        Its factor, relative to the loss of the mean.
    n_targets : int
        Number t of targets that have strengths of their own; 1 where they share them.
        With more, ``members``, ``metadata`` and limits have p t rows, the targets of a
        feature one after the other.
    """

    n_features: int
    members: Array | None
    metadata: FoldMetadata | None
    low: Array
    high: Array
    family: str
    value: float
    n_targets: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variances: (p,) or (p, t)."""
        p, t = self.n_features, self.n_targets
        return (p,) if t == 1 else (p, t)

    def _by_target(self, flat: Parametrization) -> Parametrization:
        return flat if self.n_targets == 1 else ByTarget(flat, self.n_targets)

    @property
    def one_strength(self) -> bool:
        """Whether all columns share one strength."""
        return self.members is not None and not self.members.any()

    def outer_vector(
        self, v_ref: float, unit: float, finite: bool = False
    ) -> OuterVector:
        """Coordinates around a reference variance.

        ``unit`` is the loss of the mean: hyperpenalties are relative to it. With
        ``finite`` no feature can be removed: the coordinates are logarithms in a box
        around the reference.
        """
        smooth = self.family == "smooth" or finite
        low, high = self.low, np.maximum(self.high, self.low)
        if finite:
            low = np.minimum(np.maximum(low, v_ref * np.exp(-_FINITE_REACH)), high)
            high = np.maximum(np.minimum(high, v_ref * np.exp(_FINITE_REACH)), low)
        elif smooth:
            low = np.minimum(np.maximum(low, v_ref * np.exp(-_REACH)), high)
        if self.metadata is not None:
            return self._with_metadata(self.metadata, v_ref, low, high, unit)
        # With its reference at the lower limit the coordinate is a logarithm.
        v0 = float(low.min()) if smooth and low.min() > 0 else v_ref
        parametrization = self._by_target(
            FeatureStrengths(self.n_features * self.n_targets, v0)
            if self.members is None
            else GroupStrengths(self.members, v0)
        )
        bounds = (parametrization.init(low), parametrization.init(high))
        penalty = self._penalty(v_ref, unit, None)
        return OuterVector(parametrization, bounds, penalty)

    def _with_metadata(
        self, metadata: FoldMetadata, v_ref: float, low: Array, high: Array, unit: float
    ) -> OuterVector:
        centre = float(np.log(v_ref))
        lower = centre - _REACH if low.min() <= 0 else float(np.log(low.min()))
        upper = max(float(np.log(high.max())), lower)
        free = self.family == "smooth"

        def make(Z: Array) -> Parametrization:
            # Every target has coefficients of metadata of its own.
            Z = Z if self.n_targets == 1 else np.kron(Z, np.eye(self.n_targets))
            return self._by_target(
                MetadataStrengths(Z, centre, lower, upper, deviations=free)
            )

        parametrization = make(metadata.Z)
        folds = metadata.per_fold
        basis = np.linalg.qr(metadata.Z)[0]
        basis = np.kron(basis, np.eye(self.n_targets)) if self.n_targets > 1 else basis
        bounds = parametrization.bounds(np.exp(lower), np.exp(upper))
        return OuterVector(
            parametrization,
            bounds,
            self._penalty(v_ref, unit, basis),
            None if folds is None else tuple(make(Z) for Z in folds),
        )

    def _penalty(
        self, v_ref: float, unit: float, basis: Array | None
    ) -> Hyperpenalty | None:
        if self.family == "smooth":
            index = None
            if self.members is not None:
                index = np.unique(self.members, return_index=True)[1]
            return SmoothPenalty(self.value * unit, index, basis)
        if self.family == "sparse":
            return SparsePenalty(self.value * unit, v_ref * self.n_features)
        return None


def variance_limits(
    alpha_bounds: tuple[float, float] | None, trace: float, metric: Array
) -> tuple[Array, Array]:
    """Limits of the variances of scaled columns, from Ridge units or from the data."""
    p = len(metric)
    high = np.full(p, _LARGEST / trace if trace > 0 else 1.0)
    if alpha_bounds is None:
        return np.zeros(p), high
    weakest, strongest = alpha_bounds
    with np.errstate(over="ignore"):
        low, top = 1.0 / (strongest * metric**2), 1.0 / (weakest * metric**2)
    return low, np.maximum(np.minimum(top, 1e2 * high), low)


def check_alpha_bounds(value: Any) -> tuple[float, float] | None:
    """A pair of strengths, the lower one positive; raises with the reason."""
    if value is None:
        return None
    try:
        low, high = (float(each) for each in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"alpha_bounds={value!r} is not a pair of two numbers (lowest, highest)."
        ) from None
    if not low > 0:
        raise ValueError(f"alpha_bounds={value!r}: the lower bound must be positive.")
    if not high >= low:
        raise ValueError(
            f"alpha_bounds={value!r}: the lower bound exceeds the upper one."
        )
    return low, high


def check_alpha_init(
    value: Any, penalized: Array, n_features: int, n_targets: int = 1
) -> Array | None:
    """Strengths to start from: (p,) of the penalized columns, or (p, t) by target."""
    if value is None:
        return None
    alpha = np.asarray(value, dtype=np.float64)
    several = n_targets > 1 and alpha.shape == (n_targets, n_features)
    if alpha.ndim and alpha.shape != (n_features,) and not several:
        each = f", or of shape ({n_targets}, {n_features})" if n_targets > 1 else ""
        raise ValueError(
            f"alpha_init has shape {alpha.shape}, but X has {n_features} features: "
            f"give one number or one per feature{each}."
        )
    shape = (n_features,) if n_targets == 1 else (n_targets, n_features)
    alpha = np.broadcast_to(alpha, shape)[..., penalized].T
    if not (alpha > 0).all():
        raise ValueError(
            "alpha_init must be positive for penalized features (inf removes one)."
        )
    return alpha


def check_hyperpenalty(value: Any) -> tuple[str, float]:
    """Family and factor of ``None`` or ``(family, value)``."""
    if value is None:
        return "none", 0.0
    message = (
        f"hyperpenalty={value!r} is not known; give 'auto', None, ('smooth', value) or "
        "('sparse', value) with a value that is not negative."
    )
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(message)
    family, factor = value
    if family not in ("smooth", "sparse") or not isinstance(factor, Real):
        raise ValueError(message)
    number = float(factor)
    if not 0.0 <= number < np.inf:
        raise ValueError(message)
    return family, number
