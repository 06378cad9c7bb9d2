"""The door of the estimators of related tasks: parameters, tasks, predictions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_X_y
from sklearn.utils.validation import check_is_fitted, validate_data

from skbilevel._array_api import need_rows_in_memory
from skbilevel._label_functions import distinct
from skbilevel._mistakes import OF_MODELS
from skbilevel._sklearn_compat import _fit_context, _num_samples
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel._warn import warn_user
from skbilevel.exceptions import DataWarning
from skbilevel.linear_model._base import check_weight, seed_of
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._draft import Draft
from skbilevel.meta._design import TaskDesign, TaskOptions
from skbilevel.meta._labels import (
    as_array,
    find,
    read_labels,
    shown,
    take_column,
)
from skbilevel.meta._parameters import TaskParameters
from skbilevel.meta._task_model import TaskModel
from skbilevel.meta._tuning import (
    TaskTuning,
    check_folds,
    read_folds,
    strength_attributes,
    tune_tasks,
)
from skbilevel.model_selection._task_folds import TaskLoss
from skbilevel.problems._task_newton import solve
from skbilevel.problems._task_solution import TaskSolution

# More tasks than this share of the rows look like measurements.
_TASKS_PER_ROW = 1.0 / 1.5


class MetaLinearModel(Versioned, TaskParameters):
    """Common door; see the subclasses.

    What their methods take:

    X : array-like of shape (n_samples, n_features)
        Features; with ``task`` one of the columns holds the tasks.
    y : array-like of shape (n_samples,)
        Target.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    tasks : array-like of shape (n_samples,), default=None
        Which task a row belongs to; tasks that are not known, and None, are
        predicted with the centre (``unseen="centre"``).
    """

    _doc_link_module = "skbilevel"
    _elsewhere: ClassVar[dict[str, str]] = {
        **OF_MODELS,
        "groups": "labels of the tasks go to fit(X, y, tasks=...), or give task",
        "tasks": (
            "labels of the tasks go to fit(X, y, tasks=...); task names the column of "
            "X that holds them"
        ),
    }
    # ``tasks`` is asked for without a word of the user.
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"tasks": True}
    __metadata_request__predict: ClassVar[dict[str, Any]] = {"tasks": True}
    __metadata_request__decision_function: ClassVar[dict[str, Any]] = {"tasks": True}
    __metadata_request__predict_proba: ClassVar[dict[str, Any]] = {"tasks": True}
    __metadata_request__predict_log_proba: ClassVar[dict[str, Any]] = {"tasks": True}
    __metadata_request__score: ClassVar[dict[str, Any]] = {"tasks": True}

    # Places of the labels of tasks.
    _labels: dict[Hashable, int]
    _model: TaskModel
    _has_tasks: bool
    # Of the subclass.
    _loss: ClassVar[TaskLoss]
    _metric: ClassVar[Callable[..., float]]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, tasks: Any = None
    ) -> Self:
        """Learn the strengths, the centre and the coefficients of all tasks.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,)
            Targets: numbers, or labels of two classes of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; an integer weight counts as that many rows.
        tasks : array-like of shape (n_samples,), default=None
            Which task a row belongs to. None is one task, or the column ``task``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter cannot be used; the message names it.
        TypeError
            If labels of tasks cannot be hashed.
        """
        draft = Draft(self, "_labels", "_model", "_has_tasks")
        draft.model._fit_copy(X, y, sample_weight, tasks)
        draft.publish()
        return self

    def adapt(
        self, X: Any, y: Any, *, tasks: Any = None, sample_weight: Any = None
    ) -> Self:
        """Take in rows of new tasks, without another fit.

        The centre and the strengths stay, so that a task costs a small linear system,
        or a few of them where targets are classes. The coefficients of a new task are
        those that the centre and its rows give; rows of a known task are added to what
        is kept of those it has.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,)
            Targets; labels may be of one class or of both.
        tasks : label or array-like of shape (n_samples,), default=None
            Which task a row belongs to, or one label for all rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        model : object
            A copy that knows the tasks; the estimator itself stays as it is.

        Raises
        ------
        ValueError
            If there are no labels of tasks, a class is not known, or the data cannot
            be used.
        """
        X, y, weight, labels = self._adaptable(X, y, tasks, sample_weight)
        made, place = self._with_labels(labels)
        units, n_tasks = self._model.units, len(made._labels)
        n_rows = np.bincount(place, minlength=n_tasks)
        touched = np.flatnonzero(n_rows)
        own = np.searchsorted(touched, place)
        Z = units.design(np.asarray(X, dtype=np.float64))
        target = units.target(self._target(y))
        new = self._loss.make(Z, target, weight, own, len(touched))
        model, w = self._model.with_rows(new, touched, n_tasks)
        made._take_in(model, touched, w, n_rows)
        return made

    def _target(self, y: Any) -> Array:
        """Targets of a call of ``adapt`` as numbers."""
        return np.asarray(y)

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, tasks: Any = None
    ) -> float:
        """Score of the predictions.

        Parameters
        ----------
        X : ...
        y : array-like of shape (n_samples,)
            Targets or labels.
        sample_weight, tasks : ...

        Returns
        -------
        score : float
            Coefficient of determination of ``predict(X, tasks=tasks)``; of labels their
            accuracy.
        """
        if y is None:
            raise ValueError(
                f"score of {type(self).__name__} compares predictions with y, and y "
                "is None: give y."
            )
        predicted = self.predict(X, tasks=tasks)
        return float(self._metric(y, predicted, sample_weight=sample_weight))

    def _read(self, X: Any, tasks: Any, **check: Any) -> tuple[Any, Any, Any]:
        """X without the column of tasks, y and the labels; ``reset`` is for fits."""
        need_rows_in_memory(self, X, "its tasks are small, and stay on the processor")
        with_y, reset = "y" in check, check.pop("reset", False)
        if with_y:
            check["y_numeric"] = is_regressor(self)
        kinds = {"dtype": [np.float64, np.float32]}
        if self.task is None:
            made = validate_data(self, X, reset=reset, **kinds, **check)
            X, y = made if with_y else (made, None)
        else:
            if tasks is not None:
                raise ValueError(
                    f"tasks are given, and task={self.task!r} names a column of X that "
                    "holds them: leave one of the two out."
                )
            validate_data(self, X, reset=reset, skip_check_array=True)
            tasks, X = take_column(X, self.task)
            if not with_y:
                return (
                    check_array(X, estimator=self, **kinds),
                    None,
                    read_labels(tasks, _num_samples(X)),
                )
            X, y = check_X_y(X, check.pop("y"), estimator=self, **kinds, **check)
        return X, y, None if tasks is None else read_labels(tasks, len(X))

    def _names(self) -> Array | None:
        """Names of the columns that have coefficients."""
        names = getattr(self, "feature_names_in_", None)
        if names is None or self.task is None:
            return names
        if isinstance(self.task, str):
            return names[names != self.task]
        return np.delete(names, self.task)

    def _fit_copy(self, X: Any, y: Any, sample_weight: Any, tasks: Any) -> None:
        """``fit`` of a copy that nobody else sees yet."""
        X, y, labels = self._read(X, tasks, y=y, reset=True, ensure_min_samples=2)
        counts = RowCounts.of(check_weight(sample_weight, X))
        target, tuning = self._learned_target(y, counts), self._tuning()
        with one_blas_thread():
            design, known = self._design(X, target, counts, labels)
            rows = design.rows
            check_folds(self.cv, self.criterion, rows.n_tasks, len(rows.weight))
            tuned = tune_tasks(design, tuning)
            solution = solve(rows.data, tuned.chosen.penalty)
        if not tuned.chosen.converged:
            warn_user(
                f"The search for the strengths has not converged after max_iter="
                f"{self.max_iter} steps: increase max_iter or tol.",
                ConvergenceWarning,
            )
        units, noise = design.units, self._noise(solution)
        coef, intercept = units.coefficients(solution.coefficients())
        centre, centre_intercept = units.coefficients(solution.centre.c)
        self._labels = known
        self._model = TaskModel.of(units, solution, noise)
        self._has_tasks = labels is not None
        self.__dict__.update(
            strength_attributes(design, tuned, noise * units.y_scale**2),
            coef_=coef.astype(X.dtype),
            intercept_=intercept.astype(X.dtype),
            centre_=centre.astype(X.dtype),
            centre_intercept_=X.dtype.type(centre_intercept),
            tasks_=as_array(known),
            n_rows_by_task_=np.bincount(rows.task, minlength=rows.n_tasks),
        )

    def _learned_target(self, y: Any, counts: RowCounts) -> Array:
        """Targets of the rows that count, as numbers."""
        raise NotImplementedError

    def _noise(self, solution: TaskSolution) -> float:
        """Noise variance in working units; one where the loss is in nats."""
        return 1.0

    def _design(
        self,
        X: Array,
        y: Array,
        counts: RowCounts,
        labels: list[Hashable] | None,
    ) -> tuple[TaskDesign, dict[Hashable, int]]:
        """Working rows, and places of the labels of tasks."""
        kept: list[Hashable] = [0] * len(counts.index)
        if labels is not None:
            kept = [labels[i] for i in counts.index]
        known = {each: k for k, each in enumerate(distinct(kept))}
        task, n_tasks = find(known, kept), len(known)
        if 1 < len(task) < n_tasks / _TASKS_PER_ROW and labels is not None:
            warn_user(
                f"tasks has {n_tasks} labels for {len(task)} rows: most tasks have one "
                "row. If the labels are measurements, give them as a column of X.",
                DataWarning,
            )
        options = TaskOptions(
            self.fit_intercept,
            self.common,
            self.feature_groups,
            self.centre_alpha,
            self._loss,
        )
        names = self._names()
        return TaskDesign.of(X, y, counts, task, n_tasks, names, options), known

    def _tuning(self) -> TaskTuning:
        sizes = np.atleast_1d(np.asarray(self.support_sizes))
        if sizes.dtype.kind not in "iu" or not sizes.size or sizes.min() < 0:
            raise ValueError(
                f"support_sizes={self.support_sizes!r}: give numbers of rows, 0 or "
                "more, for instance (1, 5, 20)."
            )
        return TaskTuning(
            self.strengths,
            self.criterion,
            tuple(sizes.ravel().tolist()),
            read_folds(self.cv),
            self.tol,
            self.max_iter,
            seed_of(self.random_state),
            self.n_jobs,
            self._tell,
        )

    def _tell(self, line: str) -> None:
        if self.verbose:
            print(f"[{type(self).__name__}] {line}")

    def _places(self, labels: list[Hashable] | None, n_rows: int) -> Array:
        """Place of the task of every row, -1 for the centre."""
        if labels is None:
            if self.unseen == "error" and self._has_tasks:
                raise ValueError(
                    "tasks are missing, and unseen='error': give tasks=..., or set "
                    "unseen='centre' to predict with the centre."
                )
            return np.full(n_rows, -1)
        places = find(self._labels, labels)
        if self.unseen == "error" and (places < 0).any():
            unknown = [labels[i] for i in np.flatnonzero(places < 0)]
            raise ValueError(
                f"tasks holds labels that fit has not seen: {shown(unknown)}. Call "
                "adapt with rows of these tasks, or set unseen='centre'."
            )
        return places

    def _placed(self, X: Any, tasks: Any) -> tuple[Array, Array]:
        """Rows to predict, and the place of the task of every row."""
        check_is_fitted(self, "coef_")
        X, _, labels = self._read(X, tasks)
        return X, self._places(labels, len(X))

    def _linear(self, X: Array, places: Array) -> Array:
        """Linear predictions, row by row."""
        out = X @ self.centre_ + self.centre_intercept_
        known = np.flatnonzero(places >= 0)
        own, rows = places[known], X if len(known) == len(X) else X[known]
        out[known] = np.vecdot(rows, self.coef_[own]) + self.intercept_[own]
        return np.asarray(out)

    def contrast_std(self, contrasts: Any) -> Array:
        """Standard deviations of ``contrasts @ centre_``, without the intercept.

        Rows of ``contrasts`` are differences of two rows of features, or any other
        directions. The strengths are held fixed; what is not known of the centre is
        what the rows of all tasks leave open when each may deviate.

        Parameters
        ----------
        contrasts : array-like of shape (n_contrasts, n_features)
            What is asked for, without a column of tasks.

        Returns
        -------
        std : ndarray of shape (n_contrasts,)
            In units of the target or of log odds.
        """
        check_is_fitted(self, "coef_")
        contrasts = check_array(
            contrasts, accept_sparse="csr", dtype=np.float64, input_name="contrasts"
        )
        if sparse.issparse(contrasts):
            contrasts = contrasts.toarray()
        if contrasts.shape[1] != len(self.centre_):
            raise ValueError(
                f"contrasts has {contrasts.shape[1]} columns, but the model has "
                f"{len(self.centre_)} coefficients."
            )
        return np.sqrt(self._model.centre_variances(contrasts))

    def _adaptable(
        self, X: Any, y: Any, tasks: Any, sample_weight: Any
    ) -> tuple[Array, Array, Array, list[Hashable]]:
        """Rows, targets, weights and labels of a call of ``adapt``."""
        if not hasattr(self, "coef_"):  # the check would be 5 % of a call
            check_is_fitted(self, "coef_")
        if self._is_plain(X, y):
            labels = None if tasks is None else read_labels(tasks, len(X))
        else:
            X, y, labels = self._read(X, tasks, y=y)
        if labels is None:
            raise ValueError(
                "adapt needs the labels of the tasks that the rows belong to: give "
                "tasks, a label for all rows or one per row."
            )
        weight = np.ones(len(X))
        if sample_weight is not None:
            weight = check_weight(sample_weight, X) / self._model.units.weight
        return X, y, weight, labels

    def _is_plain(self, X: Any, y: Any) -> bool:
        """Whether X and y are arrays that no check would change.

        The checks of scikit-learn take longer than a task of a few rows.
        """
        if self.task is not None or hasattr(self, "feature_names_in_"):
            return False
        if type(X) is not np.ndarray or type(y) is not np.ndarray:
            return False
        shaped = X.shape == (len(y), self.n_features_in_) and y.ndim == 1
        kinds = X.dtype in (np.float64, np.float32) and y.dtype.kind in "biuf"
        if not (shaped and kinds and len(y)):
            return False
        return bool(np.isfinite(X).all() and np.isfinite(y).all())

    def _with_labels(self, labels: list[Hashable]) -> tuple[Self, Array]:
        """A copy that knows the labels, and the places of the rows."""
        known = dict(self._labels)
        for each in labels:
            known.setdefault(each, len(known))
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        if len(known) > len(self._labels):
            made._labels, made.tasks_ = known, as_array(known)
        made._has_tasks = True
        return made, find(known, labels)

    def _take_in(
        self, model: TaskModel, touched: Array, w: Array, n_rows: Array
    ) -> None:
        """Publish the coefficients of tasks that have new rows."""
        coef, intercept = model.units.coefficients(w)
        for name, new in (("coef_", coef), ("intercept_", intercept)):
            old = getattr(self, name)
            every = np.empty((len(n_rows), *old.shape[1:]), old.dtype)
            every[: len(old)], every[touched] = old, new
            setattr(self, name, every)
        n_rows[: len(self.n_rows_by_task_)] += self.n_rows_by_task_
        self.n_rows_by_task_ = n_rows
        self._model = model
