"""From a few outer variables to the variances of deviations and back."""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._task_solution import TaskPenalty, TaskSolution

# Inner solutions, from which those at other variances start.
Near = tuple[TaskSolution, ...]


@record
class TaskGradient:
    """A criterion and its derivatives.

    ``value`` is the criterion, ``v`` (q,) its derivatives with respect to the variances
    of the deviations, and ``beta`` (q,) to the strengths of the centre. ``near`` are
    the inner solutions it was made of, where they were searched.
    """

    value: float
    v: Array
    beta: Array
    near: Near = ()


@record
class TaskStrengths:
    """Logarithms theta of shared variances, and of the centre's strength.

    Parameters
    ----------
    members : ndarray of int, shape (q,)
        Which entry of theta a column's variance belongs to; -1 has no deviations.
    unit : ndarray of shape (q,)
        Variances at theta = 0.
    beta : ndarray of shape (q,)
        Strengths of the centre; where ``tuned`` the last entry of theta multiplies
        them.
    tuned : bool
        Whether the strength of the centre is an outer variable.
    """

    members: Array
    unit: Array
    beta: Array
    tuned: bool

    @property
    def n_labels(self) -> int:
        """Number of shared variances."""
        return int(self.members.max(initial=-1)) + 1

    @property
    def size(self) -> int:
        """Length of theta."""
        return self.n_labels + self.tuned

    def penalty(self, theta: Array) -> TaskPenalty:
        """Variances and strengths at ``theta``."""
        own = self.members >= 0
        v = np.zeros(len(self.members))
        v[own] = np.exp(theta[self.members[own]]) * self.unit[own]
        return TaskPenalty(v, self.beta * (np.exp(theta[-1]) if self.tuned else 1.0))

    def pulled(self, gradient: TaskGradient, penalty: TaskPenalty) -> Array:
        """Gradient with respect to theta."""
        own = self.members >= 0
        slopes = (gradient.v * penalty.v)[own]
        out = np.bincount(self.members[own], slopes, minlength=self.n_labels)
        if not self.tuned:
            return out
        return np.append(out, gradient.beta @ penalty.beta)
