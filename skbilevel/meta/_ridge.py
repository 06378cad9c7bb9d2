"""MetaRidge: ridge regression of many related tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skbilevel._typing import Array
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._first_look import warn_of_constant
from skbilevel.meta._base import MetaLinearModel
from skbilevel.model_selection._task_folds import SQUARED
from skbilevel.problems._task_solution import TaskSolution


class MetaRidge(RegressorMixin, MetaLinearModel):
    """Ridge regression of many related tasks, each pulled to a common centre.

    Put it where `RidgeCV` stood when rows come from many schools, patients, stores or
    sensors, and say which column is the task. It minimizes ::

        0.5 sum_i |y_i - b_i - X_i w_i|^2 + 0.5 sum_ij alpha_j (w_ij - c_j)^2

    over the centre ``c`` and the coefficients ``w_i`` of every task i (the intercepts
    ``b_i`` have a centre and a strength of their own), and learns the strengths
    ``alpha_j`` from all tasks: how much an effect differs between them. Known tasks
    are predicted with their own coefficients, new ones with the centre, and `adapt`
    makes coefficients of a new task from a few of its rows.

    Parameters
    ----------
    task, fit_intercept, strengths, common, feature_groups, criterion : ...
    support_sizes, centre_alpha, unseen, cv, tol, max_iter, n_jobs : ...
    random_state, verbose : ...

    Attributes
    ----------
    centre_, centre_intercept_ : ...
    coef_ : ndarray of shape (n_tasks, n_features)
        Coefficients of every task.
    intercept_, tasks_, n_rows_by_task_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths of the deviations in units of Ridge; inf where all tasks share an
        effect.
    intercept_alpha_ : float
        Strength of the deviations of the level, which is the prediction at the mean of
        the columns.
    group_alpha_, group_labels_ : ...
    centre_alpha_ : ndarray of shape (n_features,)
        Strengths of the centre.
    noise_variance_ : float
        Variance of the target around the predictions of its task.
    deviation_std_ : ndarray of shape (n_features,)
        How much the effects differ between tasks: ``sqrt(noise_variance_ / alpha_)``.
    intercept_deviation_std_, feature_means_ : ...
    best_score_ : float
        Minus the mean squared error on tasks that were left out, of the standardized
        target; without the guard minus the criterion.
    n_iter_, history_ : ...
    hyperpenalty_ : dict of ndarray
        Of every candidate: ``family``, ``score`` (minus the loss on tasks that were
        left out, over the least loss after as many rows), ``error`` (the standard error
        of its difference to the first), ``weight`` (1 for the chosen one), ``alpha``
        and ``intercept_alpha``.
    n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelRidgeCV : One model for all rows, with a strength per feature.
    sklearn.linear_model.RidgeCV : One model for all rows, with one strength.

    Notes
    -----
    Put a scaler in front: in "two" one strength for all effects means the same only
    for columns of one scale. Where the scales differ by more than a factor of 100, it
    counts them as if they had been scaled.

    The fitted model keeps one matrix of moments per task, of shape (n_features + 1,
    n_features + 1), from which `adapt` and ``return_std`` work.

    References
    ----------
    A. Rajeswaran, C. Finn, S. Kakade and S. Levine, "Meta-learning with implicit
    gradients", NeurIPS 2019. Here the centre is part of the inner problem, and the
    strengths are outside.

    H. D. Patterson and R. Thompson, "Recovery of inter-block information when block
    sizes are unequal", Biometrika 58, 1971 (the restricted likelihood).

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import MetaRidge
    >>> rng = np.random.default_rng(0)
    >>> school = rng.integers(30, size=600)
    >>> X = rng.standard_normal((600, 2))
    >>> slope = 1 + 0.5 * rng.standard_normal(30)
    >>> y = slope[school] * X[:, 0] + X[:, 1] + rng.standard_normal(600)
    >>> model = MetaRidge(strengths="feature").fit(X, y, tasks=school)
    >>> model.coef_.shape
    (30, 2)
    >>> model.deviation_std_.round(1)
    array([0.3, 0.1])
    >>> model = model.adapt(X[:5], y[:5], tasks="a new school")
    >>> model.predict(X[:2], tasks=["a new school", 3]).shape
    (2,)
    """

    _loss = SQUARED
    _metric = staticmethod(r2_score)
    # The mixin's knows nothing of tasks.
    score = MetaLinearModel.score

    def _fit_copy(self, X: Any, y: Any, sample_weight: Any, tasks: Any) -> None:
        """``fit`` of a copy that nobody else sees yet."""
        super()._fit_copy(X, y, sample_weight, tasks)
        y_scale = self._model.units.y_scale
        self.noise_variance_ = float(self._model.noise * y_scale**2)

    def _learned_target(self, y: Any, counts: RowCounts) -> Array:
        target = counts.take(np.asarray(y, dtype=np.float64))
        warn_of_constant(target)
        return target

    def _noise(self, solution: TaskSolution) -> float:
        n_free = int((solution.penalty.beta == 0.0).sum())
        df = float(solution.moments.weight.sum()) - n_free
        return solution.centre.misfit / max(df, 1.0)

    def predict(
        self, X: Any, *, tasks: Any = None, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict with the coefficients of each row's task.

        Parameters
        ----------
        X, tasks : ...
        return_std : bool, default=False
            Whether the standard deviations of the predictions are returned, too.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,)
            Predictions.
        y_std : ndarray of shape (n_samples,)
            Standard deviations of a new row around them: of the noise, of what is not
            known of the task, and of the centre. Only with ``return_std``.

        Raises
        ------
        ValueError
            If a task is not known and ``unseen="error"``.
        """
        X, places = self._placed(X, tasks)
        mean = self._linear(X, places)
        if not return_std:
            return mean
        if not self._has_tasks:
            places = np.full(len(X), -1)
        Z = self._model.units.design(np.asarray(X, dtype=np.float64))
        variance = 1.0 + self._model.variances(Z, places)
        return mean, np.sqrt(self.noise_variance_ * variance)
