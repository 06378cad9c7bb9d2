"""MetaLogistic: logistic regression of many related tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

from skbilevel._typing import Array
from skbilevel.linear_model._classes import two_or_more_classes
from skbilevel.linear_model._counts import RowCounts
from skbilevel.meta._base import MetaLinearModel
from skbilevel.meta._labels import shown
from skbilevel.model_selection._task_folds import LOGISTIC


class MetaLogistic(ClassifierMixin, MetaLinearModel):
    """Logistic regression of many related tasks, each pulled to a common centre.

    Put it where `LogisticRegression` stood when rows come from many districts,
    patients, stores or sensors, and say which column is the task. Two classes. It
    minimizes, with ``p`` the logistic function of ``b_i + x w_i``, ::

        - sum_i sum_rows log p[y] + 0.5 sum_ij alpha_j (w_ij - c_j)^2
        + 0.5 sum_j beta_j c_j^2

    over the centre ``c`` and the coefficients ``w_i`` of every task i (the intercepts
    ``b_i`` have a centre and a strength of their own), and learns the strengths
    ``alpha_j`` from all tasks: how much an effect differs between them. Known tasks
    are predicted with their own coefficients, new ones with the centre, and `adapt`
    makes coefficients of a new task from a few of its rows.

    Parameters
    ----------
    task, fit_intercept, strengths, common, feature_groups : ...
    criterion : {"evidence", "new-tasks", "known-tasks"}, default="evidence"
        What the strengths minimize: the restricted likelihood by Laplace's
        approximation, the log loss on tasks that were left out, after
        ``support_sizes`` of their rows (the outer loss of implicit MAML), or the log
        loss of held-out rows of the same tasks, which is not meant for new ones.
    support_sizes : ...
    centre_alpha : float or None, default=None
        Strength of the centre, ``1 / C`` of LogisticRegression. None learns it.
    unseen, cv, tol, max_iter, n_jobs, random_state, verbose : ...

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels of the rows of positive weight.
    centre_, centre_intercept_ : ...
    coef_ : ndarray of shape (n_tasks, n_features)
        Coefficients of every task: log odds of the second class.
    intercept_, tasks_, n_rows_by_task_ : ...
    alpha_ : ndarray of shape (n_features,)
        Strengths of the deviations in units of ``1 / C``; inf where all tasks share an
        effect.
    intercept_alpha_ : float
        Strength of the deviations of the level, which is the log odds at the mean of
        the columns.
    group_alpha_, group_labels_ : ...
    centre_alpha_ : ndarray of shape (n_features,)
        Strengths of the centre, ``beta``.
    deviation_std_ : ndarray of shape (n_features,)
        How much the effects differ between tasks, ``sqrt(1 / alpha_)``.
    intercept_deviation_std_, feature_means_ : ...
    best_score_ : float
        Minus the mean log loss on tasks that were left out; without the guard minus
        the criterion.
    n_iter_, history_ : ...
    hyperpenalty_ : dict of ndarray
        Of every candidate: ``family``, ``score`` (minus the log loss on tasks that were
        left out), ``error`` (the standard error of its difference to the first),
        ``weight`` (1 for the chosen one), ``alpha`` and ``intercept_alpha``.
    n_features_in_, feature_names_in_ : ...

    See Also
    --------
    MetaRidge : The same for numbers.
    BilevelLogisticCV : One model for all rows, with a strength per feature.
    sklearn.linear_model.LogisticRegression : One model for all rows, one strength.

    Notes
    -----
    Put a scaler in front: in "two" one strength for all effects means the same only
    for columns of one scale. A task may have rows of one class only.

    For more than two classes give the tasks as a column, ``task``, and put the model
    into `OneVsRestClassifier`.

    The fitted model keeps no rows. It keeps the log loss of every task as a quadratic
    function that touches it at the task's coefficients; rows of a known task that
    `adapt` takes in are added to that.

    References
    ----------
    A. Rajeswaran, C. Finn, S. Kakade and S. Levine, "Meta-learning with implicit
    gradients", NeurIPS 2019. Here the centre is part of the inner problem, and the
    strengths are outside.

    N. E. Breslow and D. G. Clayton, "Approximate inference in generalized linear mixed
    models", Journal of the American Statistical Association 88, 1993 (Laplace's
    approximation of the likelihood of random effects).

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import MetaLogistic
    >>> rng = np.random.default_rng(0)
    >>> store = rng.integers(30, size=900)
    >>> X = rng.standard_normal((900, 2))
    >>> slope = 1 + 1.5 * rng.standard_normal(30)
    >>> score = slope[store] * X[:, 0] + X[:, 1] + rng.logistic(size=900)
    >>> model = MetaLogistic(strengths="feature").fit(X, score > 0, tasks=store)
    >>> model.coef_.shape
    (30, 2)
    >>> bool(model.deviation_std_[0] > 1 > model.deviation_std_[1])
    True
    >>> model = model.adapt(X[:5], score[:5] > 0, tasks="a new store")
    >>> model.predict_proba(X[:2], tasks=["a new store", 3]).shape
    (2, 2)
    """

    classes_: Array

    _loss = LOGISTIC
    _metric = staticmethod(accuracy_score)
    # The mixin's knows nothing of tasks.
    score = MetaLinearModel.score

    def _learned_target(self, y: Any, counts: RowCounts) -> Array:
        check_classification_targets(y)
        self.classes_, codes = two_or_more_classes(counts.take(np.asarray(y)))
        if len(self.classes_) > 2:
            raise ValueError(
                "Only binary classification is supported. y has "
                f"{len(self.classes_)} classes: give the tasks as a column of X (task) "
                "and put MetaLogistic into sklearn.multiclass.OneVsRestClassifier."
            )
        return codes.astype(np.float64)

    def decision_function(self, X: Any, *, tasks: Any = None) -> Array:
        """Log odds of the second class, with the coefficients of each row's task.

        Parameters
        ----------
        X, tasks : ...

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Log odds.

        Raises
        ------
        ValueError
            If a task is not known and ``unseen="error"``.
        """
        return self._linear(*self._placed(X, tasks))

    def predict(self, X: Any, *, tasks: Any = None) -> Array:
        """Predict labels.

        Parameters
        ----------
        X, tasks : ...

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The label with the larger probability.
        """
        scores = self.decision_function(X, tasks=tasks)
        return np.asarray(self.classes_[(scores > 0).astype(int)])

    def predict_proba(self, X: Any, *, tasks: Any = None) -> Array:
        """Predict probabilities.

        Parameters
        ----------
        X, tasks : ...

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
            In the order of ``classes_``; the sum of a row is 1.
        """
        scores = self.decision_function(X, tasks=tasks)
        return np.column_stack([special.expit(-scores), special.expit(scores)])

    def predict_log_proba(self, X: Any, *, tasks: Any = None) -> Array:
        """Predict the logarithms of the probabilities, without rounding them to 0.

        Parameters
        ----------
        X, tasks : ...

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, 2)
            In the order of ``classes_``.
        """
        scores = self.decision_function(X, tasks=tasks)
        return np.column_stack([special.log_expit(-scores), special.log_expit(scores)])

    def _target(self, y: Any) -> Array:
        """Codes of labels that fit has seen."""
        y = np.asarray(y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds classes that fit has not seen: {shown(unknown.tolist())}; "
                f"it has seen {shown(self.classes_.tolist())}."
            )
        return np.searchsorted(self.classes_, y).astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
