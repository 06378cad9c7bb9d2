"""From a design and the estimator's parameters to variances of the deviations."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.exceptions import DataWarning
from skbilevel.meta._design import TaskDesign
from skbilevel.model_selection._average import Choice
from skbilevel.model_selection._task_folds import (
    Folds,
    MakeCriterion,
    TaskRows,
    evidence_maker,
    known_tasks_maker,
    new_tasks_maker,
)
from skbilevel.model_selection._task_guard import MIN_TASKS, Guarded, TaskGuard
from skbilevel.model_selection._task_search import (
    SearchPoint,
    TaskSearch,
)

_FOLDS = 5


def read_folds(cv: Any) -> Folds:
    """Folds that ``cv`` stands for; items that are in no test set have label -1."""
    if cv is None or isinstance(cv, Integral):
        n_folds = _FOLDS if cv is None else int(cv)
        if n_folds < 2:
            raise ValueError(f"cv={cv}: give 2 folds or more.")
        return n_folds

    def label(n_items: int) -> Array:
        items = np.zeros((n_items, 1))
        splits = cv.split(items) if hasattr(cv, "split") else cv
        fold = np.full(n_items, -1)
        for k, (_, test) in enumerate(splits):
            places = np.arange(n_items)[np.asarray(test)]
            fold[places] = k
        if not (fold >= 0).any():
            raise ValueError(
                f"cv={cv!r} gives no split; a generator is used up once it was read, "
                "so give a list of splits."
            )
        return fold

    return label


def check_folds(cv: Any, criterion: str, n_tasks: int, n_rows: int) -> None:
    """Refuse a number of folds that what is split cannot fill."""
    n, what = (n_rows, "rows") if criterion == "known-tasks" else (n_tasks, "tasks")
    if isinstance(cv, Integral) and int(cv) > n:
        raise ValueError(
            f"cv={cv} folds are more than the {n} {what}; give a smaller cv."
        )


@record
class TaskTuning:
    """Parameters of the search."""

    strengths: str
    criterion: str
    sizes: tuple[int, ...]
    folds: Folds
    tol: float
    max_iter: int
    seed: int
    n_jobs: int | None
    tell: Callable[[str], None]


def tune_tasks(design: TaskDesign, options: TaskTuning) -> Guarded:
    """Search the variances of one family, or of all and choose among them."""
    rows, columns = design.rows, design.columns
    n_rows, n_tasks = float(rows.weight.sum()), rows.n_tasks
    search = TaskSearch(
        columns, n_rows, n_rows / n_tasks, options.tol, options.max_iter
    )
    make = _maker(rows, options)
    if options.strengths == "auto" and len(columns.families()) > 1:
        if n_tasks >= MIN_TASKS:
            return TaskGuard(
                rows,
                search,
                make,
                options.criterion == "evidence",
                options.sizes,
                _of_tasks(options),
                options.seed,
                options.n_jobs,
                options.tell,
            ).choose()
        warn_user(
            f"tasks has {n_tasks} labels, and with fewer than {MIN_TASKS} no task can "
            "be left out to choose among strengths: strengths='two' is used. Give "
            "strengths by name, or more tasks.",
            DataWarning,
        )
    family = "two" if options.strengths == "auto" else options.strengths
    every, start = np.arange(n_tasks), None
    if options.criterion != "evidence":
        # Losses of held-out rows are flat far from their minimum, which the evidence
        # comes near to, for less.
        end = search.run(family, evidence_maker(rows)(every)).end
        start = SearchPoint(end.theta)
    found = search.run(family, make(every), start)
    options.tell(f"{family}: criterion {found.value:.6g}, {found.n_iter} steps")
    none = np.full(1, np.nan)
    return Guarded((found,), Choice(none, none, np.ones(1)), found.value)


def _of_tasks(options: TaskTuning) -> Folds:
    """Folds of tasks; those of ``cv`` are of rows where the criterion is."""
    given = callable(options.folds) and options.criterion == "known-tasks"
    return _FOLDS if given else options.folds


def _maker(rows: TaskRows, options: TaskTuning) -> MakeCriterion:
    """The criterion that ``criterion`` names; one task knows the evidence only."""
    rng = np.random.default_rng([options.seed, 7])
    n_tasks, folds = rows.n_tasks, options.folds
    if options.criterion == "known-tasks" and n_tasks > 1:
        own = folds(len(rows.y)) if callable(folds) else folds
        return known_tasks_maker(rows, own, rng)
    if options.criterion == "new-tasks" and n_tasks >= MIN_TASKS:
        return new_tasks_maker(rows, options.sizes, folds, rng)
    return evidence_maker(rows)


def strength_attributes(
    design: TaskDesign, tuned: Guarded, noise: float
) -> dict[str, Any]:
    """What the strengths are, and how they were found."""
    units, penalty = design.units, tuned.chosen.penalty
    alpha, intercept_alpha = units.strengths(penalty.v)
    with np.errstate(divide="ignore"):
        deviation = np.sqrt(noise * units.weight / alpha)
    first = int(units.intercept)
    candidates = [units.strengths(each.penalty.v) for each in tuned.found]
    found = {
        "alpha_": alpha,
        "intercept_alpha_": intercept_alpha,
        "feature_means_": units.shift,
        "centre_alpha_": penalty.beta[first:] * units.scale**2 * units.weight,
        "deviation_std_": deviation,
        "intercept_deviation_std_": float(
            np.sqrt(noise * units.weight / intercept_alpha)
        ),
        "n_iter_": max(1, sum(each.n_iter for each in tuned.found)),
        "best_score_": -tuned.score,
        "history_": {"value": tuned.chosen.values},
        "hyperpenalty_": {
            "family": np.array([each.family for each in tuned.found]),
            "score": -tuned.choice.loss,
            "error": tuned.choice.error,
            "weight": tuned.choice.weight,
            "alpha": np.stack([each for each, _ in candidates]),
            "intercept_alpha": np.array([each for _, each in candidates]),
        },
    }
    if design.group_labels is not None:
        where = [
            np.flatnonzero(design.members == k)[0]
            for k in range(len(design.group_labels))
        ]
        found["group_labels_"] = design.group_labels
        found["group_alpha_"] = alpha[where]
    return found
