"""One centre and one deviation per task: the inner problem, eliminated task by task.

With moments ``G_i = Z_i^T Z_i`` and ``b_i = Z_i^T y_i`` it is ::

    min over c, d_i   1/2 sum_i |y_i - Z_i (c + d_i)|^2
                      + 1/2 sum_ij d_ij^2 / v_j + 1/2 sum_j beta_j c_j^2

and with ``S = diag(sqrt v)`` its solution is ::

    P_i = S (I + S G_i S)^-1 S
    c   = [sum_i (G_i - G_i P_i G_i) + diag(beta)]^-1 sum_i (b_i - G_i P_i b_i)
    d_i = P_i (b_i - G_i c)

A variance of zero means no deviation. Only columns with a positive variance enter P_i.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import (
    diagonal_of,
    factor_spd,
    inverse_and_logdet,
    inverse_of_factor,
    preconditioned,
)
from skbilevel.problems._task_moments import TaskMoments


@record
class TaskPenalty:
    """Variances of deviations ``v`` (q,) and strengths ``beta`` (q,) of the centre."""

    v: Array
    beta: Array

    @property
    def active(self) -> Array:
        """Places of the columns that have deviations."""
        return np.flatnonzero(self.v > 0.0)


@record
class Eliminated:
    """Tasks without their deviations: a quadratic function of the centre.

    Parameters
    ----------
    gram : ndarray of shape (T, q, q)
        ``K_i = G_i - G_i P_i G_i``.
    cross : ndarray of shape (T, q)
        ``h_i = b_i - G_i P_i b_i``.
    explained : float
        ``sum_i b_i^T P_i b_i``.
    logdet : float
        ``sum_i log det (I + S G_i S)``.
    """

    gram: Array
    cross: Array
    explained: float
    logdet: float


def eliminate(moments: TaskMoments, penalty: TaskPenalty) -> Eliminated:
    """Eliminate the deviations of a stack of tasks."""
    active = penalty.active
    P, logdet = shrinkage(moments.gram, penalty)
    side, own = moments.gram[:, active, :], moments.cross[:, active]
    solved = np.matmul(P, own[:, :, None])
    gram = moments.gram - np.matmul(side.swapaxes(1, 2), np.matmul(P, side))
    cross = moments.cross - np.matmul(side.swapaxes(1, 2), solved)[:, :, 0]
    explained = float((own * solved[:, :, 0]).sum())
    return Eliminated(gram, cross, explained, float(logdet.sum()))


@record
class Centre:
    """The centre, and what is known at it.

    Parameters
    ----------
    c : ndarray of shape (q,)
        The centre.
    inverse : ndarray of shape (q, q)
        Inverse of ``K = sum_i K_i + diag(beta)``.
    logdet : float
        ``log det K + sum_i log det (I + S G_i S)``.
    misfit : float
        Twice the least value of the inner problem.
    """

    c: Array
    inverse: Array
    logdet: float
    misfit: float


def eliminated(
    moments: TaskMoments, penalty: TaskPenalty
) -> tuple[Centre, Iterable[Eliminated]]:
    """The centre, and the chunks of the stack that it was made of.

    A single chunk is kept; several are eliminated once more when they are asked for.
    """
    chunks = moments.chunks()

    def made() -> Iterable[Eliminated]:
        return (eliminate(moments.take(chunk), penalty) for chunk in chunks)

    kept = list(made()) if len(chunks) == 1 else None
    K, cross = np.diag(penalty.beta), np.zeros(len(penalty.beta))
    explained = logdet = 0.0
    for part in kept or made():
        K += part.gram.sum(axis=0)
        cross += part.cross.sum(axis=0)
        explained, logdet = explained + part.explained, logdet + part.logdet
    K = 0.5 * (K + K.T)
    # Rounding alone must not decide about a column that is zero everywhere.
    scale = np.sqrt(np.maximum(diagonal_of(K), 1e-300))
    factor = factor_spd(K / scale[:, None] / scale)
    logdet += 2.0 * float(np.log(diagonal_of(factor)).sum() + np.log(scale).sum())
    inverse = inverse_of_factor(factor) / scale[:, None] / scale
    c = inverse @ cross
    misfit = max(float(moments.yy.sum()) - explained - float(c @ cross), 0.0)
    return Centre(c, inverse, logdet, misfit), kept or made()


@record
class TaskSolution:
    """The inner problem solved: ``centre``, and the stack that it was made of."""

    moments: TaskMoments
    penalty: TaskPenalty
    centre: Centre

    @classmethod
    def of(cls, moments: TaskMoments, penalty: TaskPenalty) -> TaskSolution:
        """Solve for the centre, chunk by chunk of the stack."""
        return cls(moments, penalty, eliminated(moments, penalty)[0])

    def take(self, index: Array) -> TaskSolution:
        """Of some of the tasks, with the centre of all."""
        return TaskSolution(self.moments.take(index), self.penalty, self.centre)

    def coefficients(self) -> Array:
        """Coefficients ``c + d_i`` of all tasks, of shape (T, q)."""
        return adapted(self.moments, self.penalty, self.centre.c)


def shrinkage(gram: Array, penalty: TaskPenalty) -> tuple[Array, Array]:
    """``P_i`` (T, a, a) of the columns with deviations, ``log det (I + S G_i S)``."""
    active = penalty.active
    d = np.sqrt(penalty.v[active])
    K = preconditioned(gram[:, active[:, None], active], d)
    inverse, logdet = inverse_and_logdet(K)
    return d[:, None] * inverse * d, logdet


def adapted(moments: TaskMoments, penalty: TaskPenalty, c: Array) -> Array:
    """Coefficients (T, q) of tasks whose centre ``c`` is known."""
    out = np.tile(c, (moments.n_tasks, 1))
    active = penalty.active
    d = np.sqrt(penalty.v[active])
    for chunk in moments.chunks():
        part = moments.take(chunk)
        u = d * (part.cross - part.gram @ c)[:, active]
        K = preconditioned(part.gram[:, active[:, None], active], d)
        out[chunk, active] += d * np.linalg.solve(K, u[:, :, None])[:, :, 0]
    return out


def covariances(moments: TaskMoments, penalty: TaskPenalty, inverse: Array) -> Array:
    """Covariances (T, q, q) of coefficients, over the noise variance.

    With ``L = I - P G`` it is ``P + L K^-1 L^T``: what is not known of the deviation,
    and of the centre as far as the task's own rows leave it open. ``inverse`` is that
    of K.
    """
    active, out = penalty.active, np.empty_like(moments.gram)
    for chunk in moments.chunks():
        G = moments.gram[chunk]
        P, _ = shrinkage(G, penalty)
        L = np.tile(np.eye(G.shape[-1]), (len(G), 1, 1))
        L[:, active] -= np.matmul(P, G[:, active])
        C = np.matmul(np.matmul(L, inverse), L.swapaxes(1, 2))
        C[:, active[:, None], active] += P
        out[chunk] = C
    return out
