"""BilevelRidgeCV: ridge regression with tuned strengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from skbilevel._sklearn_compat import _fit_context
from skbilevel._threads import map_threads, n_threads
from skbilevel._typing import Array
from skbilevel.blocks import RowBlocks
from skbilevel.linear_model._base import (
    BilevelLinearModel,
    check_weight,
    linear_predictor,
    seed_of,
)
from skbilevel.linear_model._block_data import TargetCode
from skbilevel.linear_model._block_fit import (
    BlockReader,
    check_numbers,
    check_parameters,
)
from skbilevel.linear_model._columns import Groups
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared, prepare
from skbilevel.linear_model._export import plain_ridge
from skbilevel.linear_model._first_look import warn_of_constant
from skbilevel.linear_model._following import FollowedFit, FollowedPart
from skbilevel.linear_model._lazily import lazily
from skbilevel.linear_model._parts_apart import can_go_apart, fit_apart
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._scoring import ScoringMixin, nested_score
from skbilevel.linear_model._uncertainty import beside


class BilevelRidgeCV(
    ScoringMixin, MultiOutputMixin, RegressorMixin, BilevelLinearModel
):
    """Ridge regression with one tuned strength per feature.

    Put it where `RidgeCV` or a grid search over `Ridge` stood. It minimizes ::

        0.5 sum_i s_i |y_i - b - x_i W|^2 + 0.5 sum_j alpha_j |W_j|^2

    over ``W`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of a validation loss, which implicit differentiation of the minimizer
    gives. With the default ``hyperpenalty="auto"`` a guard keeps many strengths from
    overfitting that loss.

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    solver, scoring, alpha_init, alpha_bounds : ...
    alpha_per_target : bool, default=False
        With several targets: one set of strengths per target instead of a shared one.
    tol, max_iter : ...
    n_jobs : int or None, default=None
        How many targets with strengths of their own (``alpha_per_target``) run side by
        side: in threads, or, without callbacks and ``verbose``, in the processes of a
        backend that ``joblib.parallel_config`` has chosen (loky, Dask, Ray), to which
        X is sent once. Otherwise threads over the training sets of the guard, where
        they are worked on one by one (more columns than rows), and over the folds where
        ``hyperpenalty`` is not "auto" and they are not solved as one stack. None is
        one, or what ``joblib.parallel_config`` says.
    random_state, verbose : ...

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients; exactly 0 for removed features. float32 where X is.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    alpha_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Strengths in units of Ridge; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the ridge solution at these strengths.
    group_alpha_, group_labels_ : ...
    noise_variance_ : float or ndarray of shape (n_targets,)
        Variance of the target around its mean, for a row of weight one: the weighted
        sum of squared residuals over the sum of the weights less the effective degrees
        of freedom. Not set where the fit is too large (see `contrast_std`).
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean squared error averaged over targets. It is optimistic by
        the choice among the candidates.
        With ``cv="reml"`` it is minus the likelihood as a variance, in squared units
        of the target.
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelRidgeClassifierCV : The same for classes.
    sklearn.linear_model.RidgeCV : One strength for all features, from a grid.
    sklearn.linear_model.ARDRegression : Strengths from the evidence, no validation.

    Notes
    -----
    Put a scaler in front: one strength for all features, the start of every search,
    means the same only for columns of one scale. Where the scales of the columns
    differ by more than a factor of 100 (a million where no more than an eighth of the
    entries is not zero), the start counts them as if they had been
    scaled. Below 20 rows the shared strength is used alone.

    With ``alpha_per_target=True`` and several targets, ``history_`` and
    ``hyperpenalty_`` are lists with one entry per target.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992 (the
    evidence, one of the criteria that candidates come from).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelRidgeCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelRidgeCV()).fit(X, y)
    >>> print(f"{model.score(X, y):.2f}")
    0.51
    >>> model[-1].alpha_.shape
    (10,)
    """

    alpha_per_target: bool
    noise_variance_: Any
    _dispersion_name = "noise_variance_"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "alpha_per_target": ["boolean"],
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        feature_groups: Any = None,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        solver: Any = "auto",
        scoring: Any = None,
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        alpha_per_target: bool = False,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any
    ) -> BilevelRidgeCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; float32 and float64 are kept, other numbers become float64. A
            `RowBlocks`, or Dask collections for X and what is beside it, are read in
            blocks.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; None where X is a `RowBlocks`, which holds them.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows, a weight
            of zero as none. Of weights whose mean is below one only ratios matter.
        **params : dict
            ``groups`` for the splitter; where ``cv`` is None or a number, they make
            folds of whole groups, once. Anything else needs metadata routing.

        Returns
        -------
        self : BilevelRidgeCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        KeyboardInterrupt
            If the user interrupts the fit; the best strengths so far are published.
        """
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any], resample: Any
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, multi_output=True, y_numeric=True)
        counts = RowCounts.of(check_weight(sample_weight, X))
        Y = counts.take(np.asarray(y, dtype=np.float64).reshape(len(y), -1))
        warn_of_constant(Y)
        resampling = resample(X, y, sample_weight, params).among(counts)
        columns = [slice(k, k + 1) for k in range(Y.shape[1])]
        if not self.alpha_per_target or Y.shape[1] == 1:
            columns = [slice(None)]
        attributes = partial(self._attributes, X.dtype, y.ndim == 1)
        fit = self._followed(*given, attributes, len(columns))
        free, groups = self._strength_columns(X, resampling)
        own = (free, self.fit_intercept, groups is not None)
        taken = counts.take(X)

        def make(c: slice) -> Prepared:
            return prepare(taken, Y[:, c], counts, *own)

        parts = None
        if len(columns) > 1 and can_go_apart(self, resampling, X):
            parts = fit_apart(self, taken, Y, (counts, own, groups, resampling))
        if parts is None:
            parts = self._fit_parts(make, groups, resampling, columns, fit)
        score = partial(nested_score, self, X, y, parts, sample_weight, params)
        return self._conclude(fit, parts, score)

    def _fit_parts(
        self,
        make: Callable[[slice], Prepared],
        groups: Groups | None,
        resampling: Resampling,
        columns: list[slice],
        fit: FollowedFit,
    ) -> list[Published]:
        """One set of strengths per part of the targets, in parallel."""
        tasks = [
            (make, c, groups, resampling, part)
            for c, part in zip(columns, fit.parts, strict=True)
        ]
        if len(columns) > 1 and n_threads(self.n_jobs) > 1:
            try:
                return map_threads(self._fit_targets, tasks, self.n_jobs)
            except KeyboardInterrupt as stop:
                fit.interrupted(stop)
        known = [part.published() for part in fit.parts]
        return [
            self._fit_targets(*task) if part is None else part
            for task, part in zip(tasks, known, strict=True)
        ]

    def _fit_targets(
        self,
        make: Callable[[slice], Prepared],
        columns: slice,
        groups: Groups | None,
        resampling: Resampling,
        part: FollowedPart,
    ) -> Published:
        """Targets that share their strengths: from prepared rows to attributes."""
        return self._fit_part(make(columns), groups, resampling, part)

    def _fit_blocks(self, blocks: RowBlocks) -> list[Published]:
        criterion = check_parameters(self)
        reader = BlockReader(self, blocks, seed_of(self.random_state))
        look = reader.look()
        check_numbers(look)
        y_origin = look.y_mean * float(self.fit_intercept)
        targets = np.arange(look.n_targets)
        columns = [slice(k, k + 1) for k in targets]
        if not self.alpha_per_target or look.n_targets == 1:
            columns = [slice(None)]
        attributes = partial(self._attributes, look.dtype, look.flat)
        fit = self._followed(blocks, None, {}, attributes, len(columns))
        read = reader.read(look, "numbers", y_origin, fit)
        warn_of_constant(np.stack([read.sums.low, read.sums.high]))
        resampling = read.resampling(criterion)
        free, groups = self._strength_columns(look.columns, resampling)

        def make(c: slice) -> Prepared:
            code = TargetCode(targets[c], y_origin)
            return read.prepared(code, free, groups is not None)

        parts = self._fit_parts(make, groups, resampling, columns, fit)
        return self._conclude(fit, parts, lambda: np.nan)

    def _attributes(
        self, dtype: Any, flat: bool, parts: list[Published]
    ) -> dict[str, Any]:
        coef = np.concatenate([part.coef for part in parts])
        intercept: Any = np.concatenate([part.intercept for part in parts])
        if not self.fit_intercept:
            intercept = 0.0
        else:
            intercept = dtype.type(intercept[0]) if flat else intercept.astype(dtype)
        return {
            "coef_": (coef[0] if flat else coef).astype(dtype),
            "intercept_": intercept,
            **self._search_attributes(parts),
        }

    @lazily
    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether the standard deviations of the predictions are returned, too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the dtype of the coefficients where X has it too.
        y_std : ndarray of the same shape
            Standard deviations of a new row around them: of the noise,
            ``noise_variance_``, and of what is not known of the coefficients at the
            published strengths; see `contrast_std`. Only with ``return_std``.

        Raises
        ------
        ValueError
            If ``return_std`` is asked of a fit that was too large to keep the
            covariance.
        """
        mean = linear_predictor(self, X)
        if not return_std:
            return mean
        variance = self._variances(X, 1.0) + self.noise_variance_
        return mean, beside(np.sqrt(variance).reshape(mean.shape), X)

    def _plain_model(self) -> Any:
        return plain_ridge(self)
