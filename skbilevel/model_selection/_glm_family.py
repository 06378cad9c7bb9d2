"""Generalized linear models as a family of the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._glm_rows import GLMRows
from skbilevel.model_selection._glm_shared import LARGEST_LOSS
from skbilevel.model_selection._glm_trainer import GLMTrainer
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import Loss
from skbilevel.problems._moments import AugmentedRows


@dataclass(frozen=True)
class LinearPredictor:
    """A loss of linear predictions.

    Parameters
    ----------
    loss : Loss
        The loss inside.
    outer : Loss
        The loss that candidates are scored by.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    dispersed : bool
        Whether the variance of the targets is known up to a factor only.
    """

    loss: Loss
    outer: Loss
    offset: Array | None
    dispersed: bool

    def trainers(self, views: RowViews, plan: NestedPlan) -> Sequence[GLMTrainer]:
        """One trainer for every set."""
        out = []
        for rows, part in views.parts(plan):
            shared = GLMRows(rows, self.loss, self.offset, self.dispersed)
            out += [GLMTrainer(shared, s) for s in (part.full, *part.outer)]
        return out

    def losses(self, rows: AugmentedRows, index: Array, eta: Array) -> Array:
        """Losses of the predictions, offsets added."""
        if self.offset is not None:
            eta = eta + self.offset[index][:, None]
        loss = self.outer.value(eta, rows.y[index][:, None]).sum(axis=-1)
        # One far row may have a loss that overflows: such candidates are all alike.
        return np.where(loss < LARGEST_LOSS, loss, LARGEST_LOSS)
