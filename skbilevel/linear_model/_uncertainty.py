"""Standard deviations of what a fitted model says, its strengths taken as known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import device_of, float_kinds, on_host
from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._data import Prepared
from skbilevel.problems._losses import facts_of
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._posterior import CoupledCovariance, Covariance
from skbilevel.problems._summed_rows import SummedRows

# Numbers that a fitted model keeps for its covariance, and multiplications that it
# takes: a fit is not to be slowed down by what may never be asked for.
_NUMBERS, _WORK = 1 << 22, 1e11
# Numbers of a block of contrasts.
_BLOCK = 1 << 22


@record
class Uncertainty:
    """The covariance of one set of coefficients, in units of the user.

    Parameters
    ----------
    covariance : Covariance or CoupledCovariance
        Over the dispersion, in working columns.
    kept : ndarray of int
        Penalized columns that were not removed.
    free : ndarray of int
        Unpenalized columns.
    free_map : ndarray or None
        Their working coordinates.
    shift : ndarray of shape (m,)
        Of all columns.
    intercept : bool
        Whether there is one.
    dispersion : ndarray of shape (t,)
        Variance of a row of weight one over that of its family, for each target: of the
        noise for squared losses, one for classes.
    """

    covariance: Covariance | CoupledCovariance
    kept: Array
    free: Array
    free_map: Array | None
    shift: Array
    intercept: bool
    dispersion: Array

    @classmethod
    def of(
        cls,
        data: Prepared,
        v: Array,
        coef: Array,
        times: float = 1.0,
        moment: Array | None = None,
    ) -> Uncertainty | None:
        """At variances (p,) or (p, c); None where it would take too much.

        Rows that stand for others, a sample for instance, count so many ``times``.
        Squared losses do not read rows whose ``moment`` is known.
        """
        data = replace(data, rows=replace(data.rows, weight=times * data.rows.weight))
        rows = data.rows
        alive = np.asarray((v > 0.0).any(axis=tuple(range(1, v.ndim))))
        kept, v = rows.penalized[alive], v[alive]
        coupled = facts_of(data.loss).coupled
        if not _is_affordable(rows.n_rows, len(kept), coef.shape[1] if coupled else 1):
            return None
        made: Covariance | CoupledCovariance
        if isinstance(rows, SummedRows):
            moment = rows.moment(np.arange(rows.n_rows))
        elif moment is not None:
            moment = times * moment
        if moment is not None and data.quadratic:
            made, square = _of_moment(moment, rows, alive, v, coef)
        else:
            made, square = _of_rows(data, replace(rows, penalized=kept), v, coef)
        # Pearson's statistic over the degrees of freedom that are left; of classes one.
        dispersion = np.ones(coef.shape[1])
        if square is not None and isinstance(made, Covariance):
            left = max(float(rows.weight.sum()) - made.df, 1.0)
            # The square of targets beyond 1e154 is infinite.
            with np.errstate(over="ignore"):
                dispersion = np.square(np.sqrt(square / left) * data.y_scale)
        columns = (kept, rows.free, rows.free_map, rows.shift, rows.intercept)
        return cls(made, *columns, dispersion)

    def variances(self, X: Any, constant: float) -> Array:
        """Variances (n, t) of ``constant * intercept + X coef``, X (n, m)."""
        if sparse.issparse(X):
            X = sparse.csr_array(X)
        step = max(1, _BLOCK // max(1, X.shape[1]))
        parts = [
            self._block(X[start : start + step], constant)
            for start in range(0, X.shape[0], step)
        ]
        return np.concatenate(parts) * self.dispersion

    def _block(self, X: Any, constant: float) -> Array:
        own = X[:, self.free]
        own = own.toarray() if sparse.issparse(own) else own
        own = np.asarray(own, dtype=np.float64) - constant * self.shift[self.free]
        own = own if self.free_map is None else own @ self.free_map
        first = np.full((X.shape[0], int(self.intercept)), constant)
        rest, shift = X[:, self.kept], constant * self.shift[self.kept]
        if shift.any():
            rest = (rest.toarray() if sparse.issparse(rest) else rest) - shift
        found = self.covariance.variances(np.hstack([first, own]), rest)
        return found if found.ndim == 2 else found[:, None]


def _is_affordable(n: int, k: int, n_classes: int) -> bool:
    n, k = n * n_classes, k * n_classes
    least = min(n, k)
    return least * k <= _NUMBERS and float(n) * k * least <= _WORK


Found = tuple[Covariance | CoupledCovariance, Array | None]


def _of_rows(data: Prepared, rows: AugmentedRows, v: Array, coef: Array) -> Found:
    """Covariance and Pearson's statistic; the rows have the columns that are kept."""
    every, loss = np.arange(rows.n_rows), data.loss
    eta = np.asarray(data.rows.predict(every, coef))
    eta = eta if data.offset is None else eta + data.offset
    mean = eta if data.quadratic else loss.mean(eta)  # type: ignore[attr-defined]
    if facts_of(loss).coupled:
        both = np.broadcast_to(v.T, (coef.shape[1], len(v))).T
        return CoupledCovariance.of(rows, both, mean), None
    # That of a row whose target is its mean: Fisher's information.
    curvature = loss.curvature(eta, mean)
    weighted = replace(rows, weight=rows.weight * curvature[:, 0])
    made = Covariance.of(weighted, v if v.ndim == 1 else v[:, 0])
    if facts_of(loss).noise(1) is not None:
        return made, None
    return made, rows.weight @ (loss.grad(eta, rows.targets(every)) ** 2 / curvature)


def _of_moment(
    moment: Array, rows: AugmentedRows, alive: Array, v: Array, coef: Array
) -> Found:
    """The same from ``sum_i s_i z_i z_i^T``, for squared losses."""
    m = rows.n_free
    index = np.r_[np.arange(m), m + np.flatnonzero(alive)]
    made = Covariance.from_moment(moment[np.ix_(index, index)], m, np.sqrt(v))
    residual = np.concatenate([-coef, np.eye(rows.n_targets)])
    return made, np.maximum(((moment @ residual) * residual).sum(axis=0), 0.0)


def beside(values: Array, X: Any) -> Any:
    """Values of rows where these lie."""
    device = device_of(X)
    return values if device is None else device.published(values)


class StandardErrorsMixin:
    """`contrast_std` of the estimators, and what their ``return_std`` is made of."""

    _uncertainty: list[Uncertainty | None]
    coef_: Array

    def contrast_std(self, contrasts: Any) -> Array:
        """Standard deviations of ``contrasts @ coef_.T``, without the intercept.

        Rows of ``contrasts`` are differences of two rows of features, or any other
        directions. With the weights W of the rows (times the curvature of the loss at
        the mean of the target) and the published strengths the covariance of the
        coefficients is ::

            dispersion * (X^T W X + diag(alpha_))^-1

        the Bayesian one of smoothing splines, in which the intercept and unpenalized
        columns have no penalty. It holds the strengths fixed, and knows nothing of
        their choice. The dispersion is one for classes with a log loss; elsewhere it
        is Pearson's statistic over the rows that are left after the effective degrees
        of freedom, so that counts may vary more than Poisson's law says.

        Parameters
        ----------
        contrasts : {array-like, sparse matrix} of shape (n_contrasts, n_features)
            What is asked for.

        Returns
        -------
        std : ndarray of shape (n_contrasts,) or (n_contrasts, n_targets)
            In units of the target, of log odds, or of the logarithm of the mean.

        Raises
        ------
        ValueError
            If the fit was too large to keep the covariance: where the smaller one of
            rows and kept columns, times the kept columns, is more than four million.

        References
        ----------
        G. Wahba, "Bayesian confidence intervals for the cross-validated smoothing
        spline", Journal of the Royal Statistical Society B 45, 1983.
        """
        variance = self._variances(contrasts, 0.0)
        flat = self.coef_.ndim == 1 or self.coef_.shape[0] == 1
        return beside(np.sqrt(variance[:, 0] if flat else variance), contrasts)

    def _variances(self, X: Any, constant: float) -> Array:
        """Variances (n, t) of ``constant * intercept_ + X @ coef_.T``."""
        check_is_fitted(self, "coef_")
        X = validate_data(
            self,
            X,
            accept_sparse=("csr", "csc"),
            dtype=float_kinds(X),
            reset=False,
        )
        X = on_host(X)
        found = [each for each in self._uncertainty if each is not None]
        if len(found) < len(self._uncertainty) or not found:
            raise ValueError(
                f"This {type(self).__name__} keeps no covariance of its coefficients, "
                "because the fit was too large for it: standard deviations need fewer "
                "columns, or fewer rows where these are fewer than the columns."
            )
        return np.concatenate([each.variances(X, constant) for each in found], axis=1)
