"""What is minimized over the variances of deviations: criteria with closed gradients.

Restricted likelihood, with ``K = sum K_i + diag(beta)``, the misfit ``R`` of the inner
problem, N rows and f columns whose centre is not penalized::

    2 N F = (N - f) log(R / (N - f)) + sum_i log det(I + S G_i S) + log det K
            - sum over penalized columns of log beta_j
    2 N dF/dv_j = -((N - f) / R) sum_i g_ij^2 + sum_i (K_i)_jj - sum_i (K_i K^-1 K_i)_jj

where ``g_i = h_i - K_i c``. It is the evidence of a random-effects model.

The others are losses on rows that were held out. Their adjoint is the inner solve
once more, with the slopes of the loss as right sides: for ``q_i`` the adjoint of task
i, ``u_i = b_i - G_i w_i`` and ``r_i = f_i - G_i q_i``, ::

    dF/dv_j = sum_i u_ij r_ij,   dF/dbeta_j = -c_j (q_c)_j

Rajeswaran, Finn, Kakade and Levine, "Meta-learning with implicit gradients", NeurIPS
2019, minimize the loss on tasks that were left out over the centre; here the centre
belongs to the inner problem.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of
from skbilevel.problems._task_moments import TaskMoments
from skbilevel.problems._task_newton import TaskData, settle, solve
from skbilevel.problems._task_rows import CurvedTasks
from skbilevel.problems._task_solution import (
    Centre,
    Eliminated,
    TaskPenalty,
    TaskSolution,
    adapted,
    covariances,
    eliminated,
    shrinkage,
)
from skbilevel.problems._task_strengths import Near, TaskGradient

# Of the target's sum of squares, always counted as noise: without it the evidence of
# tasks that are fitted exactly has no maximum.
_NOISE_FLOOR = 1e-6
_TINY = 1e-250


@record
class TaskEvidence:
    """Restricted likelihood; ``noise`` is the noise variance where it is known."""

    moments: TaskMoments
    noise: float | None = None

    # Whether the number of rows makes a log likelihood of the value.
    in_nats: ClassVar[bool] = True

    def at(self, penalty: TaskPenalty, near: Near = ()) -> TaskGradient:
        """Value and derivatives."""
        moments, beta = self.moments, penalty.beta
        centre, parts = eliminated(moments, penalty)
        yy, own = float(moments.yy.sum()), beta > 0.0
        n, n_free = float(moments.weight.sum()), int((beta == 0.0).sum())
        misfit, slope = self._misfit(centre.misfit, yy, n - n_free)
        logdet = centre.logdet - float(np.log(beta[own]).sum())
        slopes = (_evidence_slopes(part, centre, slope) for part in parts)
        grad_v, grad_beta = sum(slopes, np.zeros(len(beta))), np.zeros(len(beta))
        spread = diagonal_of(centre.inverse)[own] - 1.0 / beta[own]
        grad_beta[own] = slope * centre.c[own] ** 2 + spread
        scale = 0.5 / n
        return TaskGradient(
            scale * (misfit + logdet), scale * grad_v, scale * grad_beta
        )

    def _misfit(self, R: float, yy: float, df: float) -> tuple[float, float]:
        """What R adds, and its derivative."""
        if self.noise is not None:
            return R / self.noise, 1.0 / self.noise
        df = max(df, 1.0)
        R = R + _NOISE_FLOOR * yy + _TINY
        return df * float(np.log(R / df)), df / R


def _evidence_slopes(part: Eliminated, centre: Centre, slope: float) -> Array:
    """Derivatives of ``2 N F`` with respect to all variances."""
    g = part.cross - part.gram @ centre.c
    crossed = np.matmul(centre.inverse, part.gram)
    trace = np.einsum("ijj->j", part.gram) - np.einsum("ikj,ikj->j", part.gram, crossed)
    return np.asarray(trace - slope * (g**2).sum(axis=0))


@record
class LaplaceEvidence:
    """Restricted likelihood by Laplace's approximation, of losses in nats.

    With the losses' curvature at the inner solution in the place of ``G_i``, it is the
    evidence of a unit noise variance. The curvature moves with the solution: half the
    log determinant has slopes ``f_i`` with respect to the coefficients, and the rest is
    the adjoint of the two criteria below.
    """

    data: CurvedTasks

    in_nats: ClassVar[bool] = True

    def at(self, penalty: TaskPenalty, near: Near = ()) -> TaskGradient:
        """Value and derivatives."""
        solution = solve(self.data, penalty, near[0] if near else None)
        fixed = TaskEvidence(solution.moments, 1.0).at(penalty)
        w = solution.coefficients()
        spread = covariances(solution.moments, penalty, solution.centre.inverse)
        f = self.data.bent(w, spread) / self.data.weight.sum()
        moved = _adjoint(solution, w, f)
        return TaskGradient(
            fixed.value, fixed.v + moved.v, fixed.beta + moved.beta, (solution,)
        )


@record
class KnownTasks:
    """Losses of held-out rows of the tasks that were trained on.

    ``folds`` are pairs of training rows and held-out rows.
    """

    folds: tuple[tuple[TaskData, TaskData], ...]

    in_nats: ClassVar[bool] = False

    def at(self, penalty: TaskPenalty, near: Near = ()) -> TaskGradient:
        """Value and derivatives."""
        n = sum(float(test.weight.sum()) for _, test in self.folds)
        parts = []
        for k, (train, test) in enumerate(self.folds):
            solution = solve(train, penalty, near[k] if near else None)
            w = solution.coefficients()
            part = _adjoint(solution, w, test.slopes(w) / n)
            parts.append(replace(part, value=float(test.value(w).sum()) / n))
        return _summed(parts)


@record
class TaskEpisodes:
    """Tasks that are left out: rows to adapt with, and rows to be judged on.

    ``train`` are the places of the other tasks, ``support`` and ``query`` the rows of
    episodes.
    """

    train: Array
    support: TaskData
    query: TaskData


@record
class NewTasks:
    """Losses of tasks that were left out, after a few of their rows."""

    data: TaskData
    folds: tuple[TaskEpisodes, ...]

    in_nats: ClassVar[bool] = False

    def at(self, penalty: TaskPenalty, near: Near = ()) -> TaskGradient:
        """Value and derivatives."""
        n = sum(float(fold.query.weight.sum()) for fold in self.folds)
        parts = []
        for k, fold in enumerate(self.folds):
            train = self.data.take(fold.train)
            solution = solve(train, penalty, near[k] if near else None)
            support = settle(fold.support, penalty, solution.centre.c)
            w = adapted(support, penalty, solution.centre.c)
            f = fold.query.slopes(w) / n
            q = _shrunk(support, penalty, f)
            left = f - np.matmul(support.gram, q[:, :, None])[:, :, 0]
            none = np.zeros_like(solution.moments.cross)
            part = _adjoint(solution, solution.coefficients(), none, left.sum(axis=0))
            v = part.v + (support.residuals(w) * left).sum(axis=0)
            value = float(fold.query.value(w).sum()) / n
            parts.append(replace(part, value=value, v=v))
        return _summed(parts)


# What a search over variances minimizes.
TaskCriterion = TaskEvidence | LaplaceEvidence | KnownTasks | NewTasks


def _summed(parts: list[TaskGradient]) -> TaskGradient:
    """The sum of what folds add to a criterion."""
    return TaskGradient(
        sum(part.value for part in parts),
        np.sum([part.v for part in parts], axis=0),
        np.sum([part.beta for part in parts], axis=0),
        tuple(each for part in parts for each in part.near),
    )


def _shrunk(moments: TaskMoments, penalty: TaskPenalty, f: Array) -> Array:
    """``P_i f_i`` of all tasks, of shape (T, q)."""
    active, out = penalty.active, np.zeros_like(f)
    for chunk in moments.chunks():
        P, _ = shrinkage(moments.gram[chunk], penalty)
        out[chunk, active] = np.matmul(P, f[chunk][:, active, None])[:, :, 0]
    return out


def _adjoint(
    solution: TaskSolution, w: Array, f: Array, extra: Array | float = 0.0
) -> TaskGradient:
    """Derivatives of a loss with slopes ``f`` (T, q), and ``extra`` at the centre."""
    moments, penalty, centre = solution.moments, solution.penalty, solution.centre
    own = _shrunk(moments, penalty, f)
    left = f - np.matmul(moments.gram, own[:, :, None])[:, :, 0]
    q_c = centre.inverse @ (left.sum(axis=0) + extra)
    q = q_c + _shrunk(moments, penalty, f - moments.gram @ q_c)
    r = f - np.matmul(moments.gram, q[:, :, None])[:, :, 0]
    v = (moments.residuals(w) * r).sum(axis=0)
    return TaskGradient(0.0, v, -centre.c * q_c, (solution,))
