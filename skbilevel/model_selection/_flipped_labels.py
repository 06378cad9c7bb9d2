"""Weights of rows of two classes some of whose labels may be flipped.

Where a share ``rho`` of the labels is flipped, the label that a row has been given has
the probability ``(1 - rho) q + rho (1 - q)``, ``q`` the model's probability of it. The
derivative of the negative logarithm is that of the log loss times ::

    s = (1 - 2 rho) q / ((1 - rho) q + rho (1 - q))

up to a factor the probability that the label is right. So these are weights of rows
with which the weighted log loss has the same solution. Trusted rows have ``rho = 0``
and ``s = 1``. For every rate the strength is the best one for this likelihood of all
rows in folds, which many rows determine; trusted rows choose the rate alone. Folds of
all rows may only say that no label is flipped: a strong penalty explains flips, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._row_weights import (
    Point,
    RowWeights,
    TrustedTasks,
    gain_of,
    strengths_of,
    surest,
)

RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
# Standard errors that are taken off gains among rates whose gain is sure.
_CHOICE = 1.0


@record
class FlippedRows:
    """Rows with the probability ``right`` (n,) that a label of one would be given.

    That is the label itself for trusted rows, and ``rho`` or ``1 - rho`` for others.
    """

    tasks: TrustedTasks
    right: Array

    @classmethod
    def of(cls, tasks: TrustedTasks, rate: float) -> FlippedRows:
        """With one rate for all rows that are not trusted."""
        right = tasks.y[:, 0].astype(float)
        rows = tasks.weighted
        right[rows] = np.clip(right[rows], rate, 1.0 - rate)
        return cls(tasks, right)

    def losses(self, eta: Array) -> Array:
        """Negative log probabilities of the labels that were given."""
        with np.errstate(divide="ignore"):
            ones = np.log(self.right) + log_expit(eta)
            zeros = np.log1p(-self.right) + log_expit(-eta)
        return -np.logaddexp(ones, zeros)

    def fit(self, weight: Array, alpha: float, start: Array | None) -> Array:
        """Coefficients at the least mean loss, with a strength beside it."""
        design, total = self.tasks.design, float(weight.sum())
        odds, penalty = logit(self.right), np.full(design.shape[1], alpha)
        penalty[: self.tasks.n_free] = 0.0
        # Curvature that no coefficient exceeds; of a constant column, the penalty's.
        square = design.column_squares(self.tasks.weight) / self.tasks.weight.sum()
        unit = 1.0 / np.sqrt(0.25 * square + penalty)

        def fun(u: Array) -> tuple[float, Array]:
            w = unit * u
            eta = design.matvec(w[:, None])[:, 0]
            slope = weight * (expit(eta) - expit(eta + odds)) / total
            grad = design.rmatvec(slope[:, None])[:, 0] + penalty * w
            value = weight @ self.losses(eta) / total + 0.5 * penalty @ w**2
            return float(value), unit * grad

        u = np.zeros(len(unit)) if start is None else start / unit
        options = {"maxiter": 300, "ftol": 1e-10, "gtol": 1e-6}
        return unit * minimize(fun, u, jac=True, method="L-BFGS-B", options=options).x

    def eta(self, w: Array) -> Array:
        """Log odds of class 1."""
        return np.asarray(self.tasks.design.matvec(w[:, None])[:, 0])


def learn_flips(tasks: TrustedTasks) -> RowWeights:
    """Search the rate and the strength; a rate of zero are equal weights."""
    looks = [_look(FlippedRows.of(tasks, rate)) for rate in RATES]
    trusted = tasks.splits[0][1]
    sign = 2.0 * tasks.y[:, 0] - 1.0
    # Losses of rows as they are, and with the other label.
    both = [-log_expit(np.array([sign * eta, -sign * eta])) for *_, eta in looks]
    weight = tasks.weight[trusted]
    path = [gain_of(tasks, (both[0] - each)[:, trusted], weight) for each in both]
    chosen = _choice(path, [value for value, *_ in looks])
    rate, alpha = RATES[chosen], looks[chosen][1]
    w = FlippedRows.of(tasks, rate).fit(tasks.weight, alpha, None)
    rows, factors = tasks.weighted, np.ones(len(sign))
    q = expit(sign * FlippedRows.of(tasks, rate).eta(w))[rows]
    factors[rows] = (1.0 - 2.0 * rate) * q / (rate + (1.0 - 2.0 * rate) * q)
    factors[rows] = np.maximum(factors[rows], np.finfo(float).tiny)
    losses = np.full(len(sign), np.nan)
    losses[rows] = both[chosen][0, rows]
    table = {
        "rate": np.array(RATES),
        "gain": np.array([point.gain for point in path]),
        "sure_gain": np.array([point.sure for point in path]),
    }
    alpha *= float(tasks.weight.sum() / (tasks.weight @ factors))
    return RowWeights(factors, alpha, losses, np.empty(0), table, chosen)


def _choice(path: Sequence[Point], values: Sequence[float]) -> int:
    """Place of a rate by gains on trusted rows and losses of all rows in folds.

    Zero stays where all rows find no other rate more likely, or no gain is sure.
    """
    return 0 if min(values[1:]) > values[0] else surest(path, _CHOICE)


def _look(rows: FlippedRows) -> tuple[float, float, Array]:
    """Loss and place of the best strength, and log odds by models of other rows."""
    tasks = rows.tasks
    models: dict[int, Array] = {}
    found, worse = (np.inf, 0.0, np.empty(0)), 0
    for alpha in strengths_of(tasks):
        eta = np.zeros(len(tasks.weight))
        for k, out in enumerate(_folds(tasks)):
            weight = tasks.weight.copy()
            weight[out] = 0.0
            models[k] = rows.fit(weight, alpha, models.get(k))
            eta[out] = rows.eta(models[k])[out]
        value = float(tasks.weight @ rows.losses(eta))
        worse = worse + 1 if value >= found[0] else 0
        if worse == 0:
            found = value, float(alpha), eta
        if worse == 2:
            break
    return found


def _folds(tasks: TrustedTasks) -> Iterator[Array]:
    """Rows of every fold: one of the rows to weigh, and a part of the trusted ones."""
    for k in range(max(len(tasks.folds), len(tasks.parts))):
        pieces = [valid for _, valid in tasks.folds[k : k + 1]]
        yield np.concatenate([*pieces, *tasks.parts[k : k + 1]])
