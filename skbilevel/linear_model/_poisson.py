"""BilevelPoissonCV: poisson regression with one tuned strength per feature."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import PoissonRegressor

from skbilevel.linear_model._export import plain_log_linear
from skbilevel.linear_model._glm import BilevelLogLinearModel


class BilevelPoissonCV(BilevelLogLinearModel):
    """Poisson regression with one tuned strength per feature.

    Put it where a grid search over `PoissonRegressor` stood. With ``mu_i =
    exp(o_i + b + x_i w)`` and offsets ``o_i``, zero where none are given, it
    minimizes the mean half deviance and a penalty ::

        sum_i s_i (y_i log(y_i / mu_i) - y_i + mu_i) / sum_i s_i
            + 0.5 sum_j alpha_j w_j^2

    over ``w`` and ``b``, and chooses the strengths ``alpha_j`` by following the
    gradient of the deviance of rows that were left out, which implicit
    differentiation of the minimizer gives. With the default ``hyperpenalty="auto"``
    a guard keeps many strengths from overfitting that deviance.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether an unpenalized intercept is fitted.
    feature_groups : None, "shared", array-like or callable, default=None
        None tunes one strength per feature, "shared" one for all, an array of shape
        (n_features,) one per distinct label; a callable makes the labels from the names
        of the columns, or, in a BilevelSearchCV, `skbilevel.original_columns` from the
        transformers. Labels of rows are ``groups``, which goes to the splitter.
    feature_metadata : array-like, callable or None, default=None
        What is known about the features, Z of shape (n_features, q):
        ``log(1/alpha) = Z beta`` plus guarded free deviations. A callable
        ``f(X, y, sample_weight)`` that returns Z is evaluated on the training rows
        of every fold, so that nothing leaks.
    unpenalized : None, str, int or array-like, default=None
        Columns whose strength is 0: a boolean mask, indices or column names.
    hyperpenalty : "auto", None or tuple, default="auto"
        "auto" is the guard: candidates from several criteria are scored by nested
        cross-validation and averaged. None tunes the criterion of ``cv`` as it is;
        ``("smooth", value)`` adds ``value`` times the mean squared deviation of the
        log strengths from their mean, ``("sparse", value)`` a price on ``1/alpha``.
    cv : None, int, "loo", splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled 5-fold, twice
        below 1000 rows; another splitter is used once, and again with another seed
        if it takes one; "loo" is as None, but for one shared strength, which it
        chooses alone. Otherwise it is the criterion itself: folds, a hold-out where
        there is one split, or, for "loo", approximate leave-one-out by one Newton
        step from the full fit.
    solver : str or solver value, default="auto"
        "auto" chooses by the rule of the user guide, "newton-cholesky" and
        "newton-dual" force factorizations, "newton-cg" conjugate gradients. A value
        is used as it is. The guard has a rule of its own and takes "auto" only.
        Algorithms of the literature ("saba", "hoag", ...; see :doc:`/solvers`)
        minimize the validation loss itself and need ``hyperpenalty=None``.
    scoring : str, callable or None, default=None
        Reporting only: `score` and ``best_score_`` use it. What is optimized is
        always the deviance.
    alpha_init : float, array-like of shape (n_features,) or None, default=None
        Start of the search in units of ``alpha_``; None searches the best shared
        strength.
    alpha_bounds : tuple of two floats or None, default=None
        Box of the strengths in these units; None is wide and scale-free.
    tol : float, default=1e-4
        Tolerance of the outer problem where ``hyperpenalty`` is not "auto"; the guard
        takes a fixed number of steps.
    max_iter : int, default=100
        Largest number of outer iterations there.
    n_jobs : int or None, default=None
        Threads over the folds where ``hyperpenalty`` is not "auto" and they are not
        solved as one stack.
    random_state : int, RandomState or None, default=None
        Seeds folds and half-samples. None is a fixed seed: fits are deterministic.
    verbose : int, default=0
        Positive values print a line for every step: outer iterations, or what the guard
        has done.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients; exactly 0 for removed features. float32 where X is.
    intercept_ : float
        Intercept.
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of PoissonRegressor; inf where a feature is removed, 0 where
        it is unpenalized. ``coef_`` is the solution at these strengths.
    group_alpha_ : ndarray of shape (n_groups,)
        Strengths by label; only with ``feature_groups``.
    group_labels_ : ndarray of shape (n_groups,)
        Their labels; only with ``feature_groups``. Labels that only unpenalized columns
        have are left out; "shared" is the label 0.
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean half deviance. It is optimistic by the choice among the candidates.
    n_iter_ : int
        Outer steps.
    history_ : dict of ndarray
        Course of the search, ready to plot: ``value``, ``grad_norm``, ``tol`` and
        ``seconds`` since its start after every outer step. Under "auto" ``score`` and
        ``weight`` of every candidate, and the ``seconds`` after which it was scored.
    hyperpenalty_ : dict of ndarray
        What was chosen: family, value, nested score, standard error, weight and
        strengths of every candidate.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

    See Also
    --------
    BilevelGammaCV : The same for positive amounts.
    BilevelTweedieCV : The same for amounts with zeros.
    sklearn.linear_model.PoissonRegressor : One given strength for all features.

    Notes
    -----
    Put a scaler in front: one strength for all features, the start of every search,
    means the same only for columns of one scale. Where the scales of the columns
    differ by more than a factor of 100 (a million where no more than an eighth of the
    entries is not zero), the start counts them as if they had been
    scaled. Below 20 rows the shared strength is used alone.

    Exposure enters in one of two ways, which give the same coefficients at the same
    ``alpha * sum_i s_i``: counts as ``y`` and the logarithm of the exposure as
    ``offset``, or rates as ``y`` and the exposure as ``sample_weight``. A weight
    counts as that many rows, so choose a unit in which a typical exposure is at most
    one: weights whose mean is below one are brought up to a mean of one. Counts
    that are all zero have no likelihood with a finite maximum; half an event in all
    rows together is then expected, whatever the features.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    D. J. C. MacKay, "The evidence framework applied to classification networks",
    Neural Computation 4, 1992 (one of the criteria that candidates come from).

    P. McCullagh and J. A. Nelder, "Generalized linear models", 1989 (deviances).

    Examples
    --------
    The disease progression of the diabetes data is a whole number from 25 to 346:

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelPoissonCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelPoissonCV()).fit(X, y)
    >>> model.score(X, y) > 0.45
    True
    >>> model[-1].alpha_.shape
    (10,)
    """

    def _power(self) -> float:
        return 1.0

    def _plain_model(self) -> Any:
        return plain_log_linear(self, PoissonRegressor())
