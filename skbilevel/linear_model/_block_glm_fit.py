"""The door for rows that come in blocks: losses that are not quadratic.

Strengths are tuned on a random part of the rows that fits into memory, by the same
search as there. At these strengths the coefficients are those of all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import PredefinedSplit

from skbilevel._records import record
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.blocks import RowBlocks
from skbilevel.linear_model._block_data import Look
from skbilevel.linear_model._following import FollowedFit
from skbilevel.linear_model._publish import Published
from skbilevel.model_selection._block_glm import (
    Link,
    PartOfBlock,
    RowPart,
    fit_all_rows,
    sample_hessian,
)
from skbilevel.model_selection._row_hashes import Dealer, rank_limit
from skbilevel.problems._losses import facts_of

# "auto": so many numbers of X, within these numbers of rows.
_NUMBERS, _FEWEST, _MOST = 1 << 23, 5_000, 50_000


@record
class GLMReader:
    """Fits a copy of an estimator to rows that come in blocks.

    Parameters
    ----------
    model : BilevelLinearModel
        The copy. While it is fitted to the part, it calls `begin` and `finish`.
    blocks : RowBlocks
        The rows.
    look : Look
        What is known of all blocks.
    part : RowPart
        The rows that strengths are tuned on.
    """

    model: Any
    blocks: RowBlocks
    look: Look
    part: RowPart

    @classmethod
    def read(
        cls,
        model: Any,
        blocks: RowBlocks,
        seed: int,
        count: Callable[[Array, Array], Any] | None,
    ) -> GLMReader:
        """Draw the part, in one pass; ``count`` is as in `PartOfBlock`."""
        look, size = Look.at(blocks, model), blocks.tuning_rows
        if isinstance(size, str):
            size = int(np.clip(_NUMBERS // look.n_features, _FEWEST, _MOST))
        below = rank_limit(size, blocks.n_rows, look.grouped)
        step = PartOfBlock(Dealer(2, 0, seed), size, count, below)
        part = blocks.map_reduce(step, RowPart.plus)
        return cls(model, blocks, look, replace(part, sample=part.sample.ordered()))

    def tune(self) -> list[Published]:
        """Fit the model to the part, and then to all rows."""
        model, parts = self.model, self.part.sample.parts
        if isinstance(model.cv, PredefinedSplit):
            folds = np.asarray(model.cv.test_fold)
            if len(folds) <= parts["position"].max():
                raise ValueError(
                    f"cv has folds for {len(folds)} rows, but the blocks hold more."
                )
            model.cv = PredefinedSplit(folds[parts["position"]])
        groups = parts.get("groups")
        params = {} if groups is None else {"groups": groups}
        more = [parts["offset"]] if "offset" in parts else []
        given = parts["X"], parts["y"], parts.get("sample_weight"), params
        published: list[Published] = model._fit_copy(*given, model._resampling, *more)
        return published

    @property
    def times(self) -> float:
        """Weight of all rows over that of the part."""
        sample = self.part.sample
        given = sample.parts.get("sample_weight")
        weight = float(len(sample.rank) if given is None else given.sum())
        return 1.0 if sample.complete else self.part.weight / weight

    def begin(self, fit: FollowedFit) -> None:
        """The pass that is done already."""
        part = self.part
        fit.read(
            "part",
            f"pass 1: {part.n_rows:,} rows, {len(part.sample.rank):,} to tune on",
        )

    def finish(self, fit: FollowedFit) -> None:
        """Coefficients of all rows, at the strengths of the part."""
        model, part, sample = self.model, self.part, self.part.sample
        if sample.complete:
            return
        of = model._all_rows(part)
        flat = np.ndim(model.coef_) == 1
        coef = np.atleast_2d(model.coef_).astype(np.float64)
        level = np.atleast_1d(model.intercept_).astype(np.float64)
        share = len(sample.rank) / part.n_rows
        # As many rows as there are pull against the same penalty of a sum.
        rescaled = 1.0 / self.times if of.mean_loss else 1.0
        alpha = np.broadcast_to(rescaled * model.alpha_, coef.shape)
        columns = np.flatnonzero(np.isfinite(alpha).any(axis=0))
        centred = model.fit_intercept and not self.look.is_sparse
        origin = self.look.mean[columns] if centred else np.zeros(len(columns))
        link = Link(of, columns, origin, model.fit_intercept)
        B, strengths = coef[:, columns].T, alpha[:, columns].T
        if model.fit_intercept:
            B = np.vstack([level + coef[:, columns] @ origin, B])
            strengths = np.vstack([np.zeros(len(level)), strengths])
        unit = part.weight if of.mean_loss else 1.0
        tell = partial(self._tell, fit)
        with one_blas_thread():
            hessian = sample_hessian(link, sample.parts, B, share)
            found, converged = fit_all_rows(
                self.blocks, link, unit * strengths, B, hessian, tell
            )
        if not converged:
            warn_user(
                "The coefficients of all rows have not converged: there are columns "
                "that nearly depend on others, or of very different scales.",
                ConvergenceWarning,
            )
        self._publish(found, link, flat, rescaled)

    def _tell(self, fit: FollowedFit, value: float) -> None:
        n = self.blocks.n_passes
        fit.read("pass", f"pass {n}: penalized loss {value:.8g}")

    def _publish(self, B: Array, link: Link, flat: bool, rescaled: float) -> None:
        """Put coefficients and strengths in the place of those of the part."""
        model = self.model
        head = int(link.intercept)
        coef = np.zeros((B.shape[1], model.n_features_in_))
        coef[:, link.columns] = B[head:].T
        if facts_of(link.of.loss).coupled:
            free = np.broadcast_to(model.alpha_, coef.shape)[0] == 0.0
            coef[:, free] -= coef[:, free].mean(axis=0)
        dtype = model.coef_.dtype
        model.coef_ = (coef[0] if flat else coef).astype(dtype)
        if head:
            level = B[0] - link.origin @ B[1:]
            if facts_of(link.of.loss).coupled:
                level = level - level.mean()
            model.intercept_ = dtype.type(level[0]) if flat else level.astype(dtype)
        model.alpha_ = model.alpha_ * rescaled
        if hasattr(model, "group_alpha_"):
            model.group_alpha_ = model.group_alpha_ * rescaled
