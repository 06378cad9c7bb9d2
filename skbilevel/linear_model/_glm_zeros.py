"""Counts or amounts that are all zero: the likelihood has no finite maximum."""

from __future__ import annotations

import numpy as np

from skbilevel.linear_model._glm_data import PreparedGLM
from skbilevel.linear_model._options import FoldModel, Tuned
from skbilevel.problems import PoissonLoss, TweedieLoss

# Of the unit in which targets count, in all rows together; Jeffreys' prior of a
# Poisson mean leads to as much.
_EVENTS = 0.5


def all_zero(data: PreparedGLM) -> bool:
    """Whether every target is zero, and an intercept would follow them."""
    log_link = isinstance(data.loss, (PoissonLoss, TweedieLoss))
    return log_link and data.rows.intercept and not data.rows.y.any()


def without_events(data: PreparedGLM) -> Tuned:
    """No features, and an intercept that expects half an event in all rows."""
    rows, weight = data.rows, data.rows.weight
    shift = np.zeros(len(weight)) if data.offset is None else data.offset[:, 0]
    largest = shift.max()
    level = np.log(_EVENTS / (weight @ np.exp(shift - largest))) - largest
    coef = np.zeros((rows.n_free + rows.n_penalized, 1))
    coef[0] = level
    loss = data.outer.value((level + shift)[:, None], rows.y)
    score = np.array([-float(weight @ loss[:, 0] / weight.sum())])
    v, one = np.zeros(rows.n_penalized), np.ones(1)
    found = {
        "family": np.array(["no events"]),
        "value": np.array([np.nan]),
        "score": score,
        "standard_error": np.array([np.nan]),
        "kept": np.array([True]),
        "weight": one,
        "alpha": np.full((1, len(v)), np.inf),
    }
    fold = FoldModel(np.arange(rows.n_rows), coef, rows)
    history = {"candidate": np.arange(1), "score": score, "weight": one}
    history["seconds"] = np.zeros(1)
    return Tuned(v, coef, float(score[0]), 1, history, found, [fold], 0)
