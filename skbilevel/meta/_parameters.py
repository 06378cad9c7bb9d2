"""Parameters of the estimators of related tasks, and what they say of them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from skbilevel._mistakes import ExplainedParameters
from skbilevel._sklearn_compat import Interval, StrOptions
from skbilevel._typing import Array
from skbilevel.linear_model._parameters import InheritedEntries


class TaskParameters(InheritedEntries, ExplainedParameters, BaseEstimator):
    """What the estimators of related tasks have in common.

    Parameters
    ----------
    task : str, int or None, default=None
        Column of X, by name or place, that holds the task of every row. Without it the
        tasks are given as ``fit(X, y, tasks=...)``; without both there is one task.
    fit_intercept : bool, default=True
        Whether tasks have intercepts.
    strengths : {"auto", "pooled", "intercept", "two", "feature"}, default="auto"
        What may differ between tasks: nothing ("pooled"), the level ("intercept"), all
        effects with one strength, and the level with another ("two"), or every effect
        with its own ("feature"). "auto" is the guard: it leaves tasks out, adapts to
        some of their rows, and takes the one of the four with the least errors on the
        others, "two" unless another is better by half a standard error.
    common : None, str, int or array-like, default=None
        Columns with one effect for all tasks: a boolean mask, places or names. Columns
        that are constant within every task are always among them, since their effect
        cannot be told from the level.
    feature_groups : None, array-like or callable, default=None
        Labels of the columns, or a function that makes them of the names; columns of
        one label share a strength where ``strengths`` is "feature" or "auto".
    criterion : {"evidence", "new-tasks", "known-tasks"}, default="evidence"
        What the strengths minimize: the restricted likelihood, the squared error on
        tasks that were left out, after ``support_sizes`` of their rows (the outer loss
        of implicit MAML), or the squared error of held-out rows of the same tasks,
        which is not meant for new ones.
    support_sizes : array-like of int, default=(1, 5, 20)
        Rows that a left-out task is adapted to, in the guard and in "new-tasks".
    centre_alpha : float or None, default=None
        Ridge strength of the centre. None is 0 where there are more than five rows per
        column and no column follows from the others; otherwise it is learned.
    unseen : {"centre", "error"}, default="centre"
        What `predict` does with a task that it does not know.
    cv : None, int, splitter or iterable, default=None
        Folds of tasks in the guard and in "new-tasks"; None is 5. A splitter or an
        iterable splits the tasks in the order of ``tasks_``. In "known-tasks" folds
        are of rows, and a splitter gets these; the guard then has five folds of tasks.
    tol : float, default=1e-4
        Tolerance of the search for the strengths.
    max_iter : int, default=100
        Largest number of steps of each search.
    n_jobs : int or None, default=None
        Threads over the folds of the guard.
    random_state : int, RandomState or None, default=None
        Seeds folds and supports. None is a fixed seed: fits are deterministic.
    verbose : int, default=0
        Positive values print a line for every candidate.

    Attributes
    ----------
    centre_ : ndarray of shape (n_features,)
        Coefficients of the centre, without the column ``task``. float32 where X is.
    centre_intercept_ : float
        Intercept of the centre.
    intercept_ : ndarray of shape (n_tasks,)
        Intercept of every task.
    tasks_ : ndarray of shape (n_tasks,)
        Labels of the tasks, sorted where they can be; those of `adapt` follow.
    n_rows_by_task_ : ndarray of shape (n_tasks,)
        Rows of every task.
    group_alpha_ : ndarray of shape (n_groups,)
        Strengths by label; only with ``feature_groups``.
    group_labels_ : ndarray of shape (n_groups,)
        Their labels; only with ``feature_groups``.
    intercept_deviation_std_ : float
        The same of the level.
    feature_means_ : ndarray of shape (n_features,)
        Means of the columns, where the level is the prediction; 0 without intercepts.
    n_iter_ : int
        Steps of the searches on all tasks.
    history_ : dict of ndarray
        ``value``, the criterion after every step, of the chosen candidate.
    n_features_in_ : int
        Number of columns seen in fit, the column ``task`` included.
    feature_names_in_ : ndarray of shape (n_columns,)
        Their names, where X has string column names.
    """

    coef_: Array
    intercept_: Array
    centre_: Array
    tasks_: Array
    n_rows_by_task_: Array
    n_features_in_: int

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "task": [str, Integral, None],
        "fit_intercept": ["boolean"],
        "strengths": [StrOptions({"auto", "pooled", "intercept", "two", "feature"})],
        "common": [
            "array-like",
            str,
            Interval(Integral, 0, None, closed="left"),
            None,
        ],
        "feature_groups": ["array-like", callable, None],
        "criterion": [StrOptions({"evidence", "new-tasks", "known-tasks"})],
        "support_sizes": ["array-like"],
        "centre_alpha": [Interval(Real, 0, None, closed="left"), None],
        "unseen": [StrOptions({"centre", "error"})],
        "cv": ["cv_object"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        task: Any = None,
        fit_intercept: bool = True,
        strengths: str = "auto",
        common: Any = None,
        feature_groups: Any = None,
        criterion: str = "evidence",
        support_sizes: Any = (1, 5, 20),
        centre_alpha: float | None = None,
        unseen: str = "centre",
        cv: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())
