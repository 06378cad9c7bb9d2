"""Generalized linear models as a family of the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._glm_rows import GLMRows
from skbilevel.model_selection._glm_trainer import GLMTrainer
from skbilevel.model_selection._paths import Candidates
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import Loss
from skbilevel.problems._moments import AugmentedRows


@dataclass(frozen=True)
class GLMFamily:
    """A loss of linear predictions.

    Parameters
    ----------
    loss : Loss
        The loss inside.
    outer : Loss
        The loss that candidates are scored by.
    offset : ndarray of shape (n, t) or None
        Added to the linear predictions.
    """

    loss: Loss
    outer: Loss
    offset: Array | None

    def trainers(self, views: RowViews, plan: NestedPlan) -> Sequence[GLMTrainer]:
        """One trainer for every set; that of all rows guides those of its folds."""
        out: list[GLMTrainer] = []
        for rows, part in views.parts(plan):
            shared = GLMRows(rows, self.loss, self.offset)
            for each in (part.full, *part.outer):
                out.append(GLMTrainer(shared, each, out[0] if out else None))
        return out

    @property
    def scored_by(self) -> tuple[Loss, float]:
        """The outer loss."""
        return self.outer, 1.0

    def compared(
        self, rows: AugmentedRows, index: Array, eta: Array
    ) -> tuple[Array, Array]:
        """Predictions with offsets added."""
        if self.offset is not None:
            eta = eta + self.offset[index][:, None]
        return eta, rows.y[index]

    def finished(
        self, trainer: GLMTrainer, candidates: Candidates, weight: Array
    ) -> Candidates:
        """The candidates, those that have a weight solved again, one by one.

        A rough solution depends on where it was started from, and so would an average.
        """
        w = candidates.w.copy()
        for c in np.flatnonzero(weight):
            w[:, c] = trainer.solve(candidates.v[:, c : c + 1])[:, 0]
        return replace(candidates, w=w)
