"""Gradients of linear models at several coefficients in a few large products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import Task
from skbilevel.problems._datafit import DataFit, QuadraticDataFit
from skbilevel.problems._rows_datafit import RowsDataFit
from skbilevel.problems._sweep import Sweep


def can_stack(tasks: Sequence[Task]) -> bool:
    """Whether `stacked_grad` knows the data fits of all tasks."""
    known = RowsDataFit | QuadraticDataFit
    return all(isinstance(task.inner, known) for task in tasks)


def stacked_grad(fit: DataFit, W: Array) -> Array:
    """Gradients (m, ..., p, t) at m coefficients, with one product for all of them."""
    if isinstance(fit, QuadraticDataFit):
        return _moments_grad(fit, W)
    assert isinstance(fit, RowsDataFit)
    if not fit.batch:
        # Leading axes of coefficients share rows, weights and targets; where all
        # are zero there is no product, and one gradient for all.
        return np.broadcast_to(fit.at(W).grad, W.shape)
    flat = W.reshape(-1, *W.shape[-2:])
    return _copies(fit, len(W)).at(flat).grad.reshape(W.shape)


def _moments_grad(fit: QuadraticDataFit, W: Array) -> Array:
    """The copies side by side, as targets of one stack of models."""
    m, t = len(W), W.shape[-1]
    wide = np.moveaxis(W, 0, -2)
    product = fit.gram @ wide.reshape(*wide.shape[:-2], m * t)
    return np.moveaxis(product.reshape(wide.shape), -2, 0) - fit.cross


def _copies(fit: RowsDataFit, m: int) -> RowsDataFit:
    """A stack of m copies of a stack; the rows themselves are shared."""
    sweep = fit.sweep
    if sweep is not None:
        sweep = Sweep(sweep.free, np.concatenate([sweep.maps] * m))
    return replace(fit, weight=np.concatenate([fit.weight] * m), sweep=sweep)
