"""A fitted model of tasks: predicts, tells how sure it is, takes more tasks in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.meta._design import Units
from skbilevel.problems._posterior import row_forms
from skbilevel.problems._task_moments import TaskMoments
from skbilevel.problems._task_newton import TaskData, settle
from skbilevel.problems._task_solution import (
    TaskPenalty,
    TaskSolution,
    adapted,
    covariances,
)


@record
class TaskModel:
    """Everything that is needed after the fit, in working units.

    Parameters
    ----------
    units : Units
        From user units to working units.
    penalty : TaskPenalty
        Variances of the deviations.
    c : ndarray of shape (q,)
        The centre.
    inverse : ndarray of shape (q, q)
        Covariance of the centre over the noise variance.
    noise : float
        Noise variance.
    grams, crosses : tuple of ndarray
        Moments of the rows of every known task.
    """

    units: Units
    penalty: TaskPenalty
    c: Array
    inverse: Array
    noise: float
    grams: tuple[Array, ...]
    crosses: tuple[Array, ...]

    @classmethod
    def of(cls, units: Units, solution: TaskSolution, noise: float) -> TaskModel:
        """From the inner problem solved at the variances that were chosen."""
        moments, centre = solution.moments, solution.centre
        return cls(
            units,
            solution.penalty,
            centre.c,
            centre.inverse,
            noise,
            tuple(moments.gram),
            tuple(moments.cross),
        )

    def with_rows(
        self, new: TaskData, touched: Array, n_tasks: int
    ) -> tuple[TaskModel, Array]:
        """Take rows of the tasks ``touched`` in; the coefficients (T, q) of these.

        Places from the number of known tasks on are new ones.
        """
        q, known = len(self.c), len(self.grams)
        grams = [*self.grams, *[np.zeros((q, q))] * (n_tasks - known)]
        crosses = [*self.crosses, *[np.zeros(q)] * (n_tasks - known)]
        none = np.zeros(len(touched))
        old = TaskMoments(
            np.stack([grams[i] for i in touched]),
            np.stack([crosses[i] for i in touched]),
            none,
            none,
        )
        moments = settle(new.plus(old), self.penalty, self.c)
        for k, i in enumerate(touched):
            grams[i], crosses[i] = moments.gram[k], moments.cross[k]
        model = replace(self, grams=tuple(grams), crosses=tuple(crosses))
        return model, adapted(moments, self.penalty, self.c)

    def variances(self, Z: Array, place: Array) -> Array:
        """Variances of predictions over the noise variance; place -1 is a new task."""
        out, q = np.empty(len(Z)), len(self.c)
        for i in np.unique(place):
            own = place == i
            gram = np.zeros((q, q)) if i < 0 else self.grams[i]
            none = np.zeros(1)
            one = TaskMoments(gram[None], np.zeros((1, q)), none, none)
            C = covariances(one, self.penalty, self.inverse)[0]
            out[own] = row_forms(Z[own], C)
        return out

    def centre_variances(self, contrasts: Array) -> Array:
        """Variances of contrasts (n, p) of the centre's coefficients, in user units."""
        first = int(self.units.intercept)
        Z = contrasts / self.units.scale
        spread = row_forms(Z, self.inverse[first:, first:])
        return self.noise * self.units.y_scale**2 * spread
