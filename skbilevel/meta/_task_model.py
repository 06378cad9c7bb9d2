"""A fitted model of tasks: predicts, tells how sure it is, takes more tasks in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.meta._design import Units
from skbilevel.problems._task_moments import TaskMoments
from skbilevel.problems._task_solution import (
    TaskPenalty,
    TaskSolution,
    adapted,
    shrinkage,
)


@dataclass(frozen=True)
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
    def of(cls, units: Units, solution: TaskSolution, n_free: int) -> TaskModel:
        """From the inner problem solved at the variances that were chosen."""
        moments, centre = solution.moments, solution.centre
        df = max(float(moments.weight.sum()) - n_free, 1.0)
        return cls(
            units,
            solution.penalty,
            centre.c,
            centre.inverse,
            centre.misfit / df,
            tuple(moments.gram),
            tuple(moments.cross),
        )

    def with_rows(
        self, Z: Array, y: Array, weight: Array, place: Array, n_tasks: int
    ) -> tuple[TaskModel, Array, Array]:
        """Take rows of known and new tasks in; which tasks, and their coefficients.

        Places from the number of known tasks on are new ones.
        """
        touched, own = np.unique(place, return_inverse=True)
        new = TaskMoments.of_rows(Z, y, weight, own, len(touched))
        grams, crosses = list(self.grams), list(self.crosses)
        grams += [np.zeros_like(new.gram[0])] * (n_tasks - len(grams))
        crosses += [np.zeros_like(new.cross[0])] * (n_tasks - len(crosses))
        for k, i in enumerate(touched):
            grams[i] = grams[i] + new.gram[k]
            crosses[i] = crosses[i] + new.cross[k]
        moments = TaskMoments(
            np.stack([grams[i] for i in touched]),
            np.stack([crosses[i] for i in touched]),
            new.yy,
            new.weight,
        )
        w = adapted(moments, self.penalty, self.c)
        model = replace(self, grams=tuple(grams), crosses=tuple(crosses))
        return model, touched, w

    def variances(self, Z: Array, place: Array) -> Array:
        """Variances of predictions over the noise variance; place -1 is a new task.

        With ``a = (I - G P) z`` it is ``z^T P z + a^T K^-1 a``: what is not known of
        the deviation, and of the centre as far as the task's own rows leave it open.
        """
        out = np.empty(len(Z))
        active = self.penalty.active
        for i in np.unique(place):
            own = place == i
            z = Z[own]
            if i < 0:
                P = np.diag(self.penalty.v[active])
                a = z
            else:
                G = self.grams[i]
                P = shrinkage(G[None], self.penalty)[0]
                a = z - (z[:, active] @ P) @ G[active]
            spread = np.einsum("ij,jk,ik->i", z[:, active], P, z[:, active])
            out[own] = spread + np.einsum("ij,jk,ik->i", a, self.inverse, a)
        return out
