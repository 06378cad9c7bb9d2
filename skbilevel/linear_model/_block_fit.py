"""The door for rows that come in blocks: ridge regression and its classifier.

One pass takes the moments of all cells of the nested folds, and everything else is done
on matrices of p x p numbers, by the guard that works on rows in memory, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import PredefinedSplit

from skbilevel._records import record
from skbilevel._threads import one_blas_thread
from skbilevel._typing import Array
from skbilevel.blocks import Block, RowBlocks
from skbilevel.blocks._row_blocks import PassProgress
from skbilevel.linear_model._block_data import BlockData, Look
from skbilevel.linear_model._classes import (
    ClassCounts,
    ClassFactors,
    factors_of_counts,
)
from skbilevel.linear_model._following import FollowedFit
from skbilevel.model_selection._block_sums import BlockSums, SumsOfBlock
from skbilevel.model_selection._named_criteria import OF_MOMENTS
from skbilevel.model_selection._row_hashes import Dealer, rank_limit

# Moments of all cells may take this many bytes.
_BUDGET = 1 << 30
# Rows from which standard errors are taken, in number and in bytes of X.
_SAMPLE_ROWS, _LEAST_SAMPLE, _SAMPLE_BYTES = 10_000, 1000, 1 << 26


@record
class BlockReader:
    """One pass for an estimator.

    Parameters
    ----------
    model : BilevelLinearModel
        Whose parameters say what is to be read.
    blocks : RowBlocks
        The rows.
    seed : int
        Of the hashes.
    """

    model: Any
    blocks: RowBlocks
    seed: int

    def look(self) -> Look:
        """Look at the first block, and tell the model of the columns."""
        look = Look.at(self.blocks, self.model)
        self.model.n_features_in_ = look.n_features
        names = self.blocks.feature_names
        if names is not None:
            self.model.feature_names_in_ = np.asarray(names, dtype=object)
        return look

    def read(
        self,
        look: Look,
        kind: str,
        y_origin: Array,
        fit: FollowedFit,
        factor: Callable[[Array], Array] | None = None,
    ) -> BlockData:
        """Sums over all rows; ``fit`` is told of every block."""
        model = self.model
        dealer = self._dealer(look, 1 + look.n_features + look.n_targets)
        centred = model.fit_intercept and not look.is_sparse
        origin = look.mean if centred else np.zeros(look.n_features)
        bytes_of_row = look.n_features * look.dtype.itemsize
        size = min(_SAMPLE_ROWS, max(_LEAST_SAMPLE, _SAMPLE_BYTES // bytes_of_row))
        below = rank_limit(size, self.blocks.n_rows, False)
        step = SumsOfBlock(dealer, origin, y_origin, size, kind, factor, below)
        with one_blas_thread():
            sums = self.blocks.map_reduce(step, BlockSums.plus, partial(_tell, fit))
        if sums.n_rows < 2:
            raise ValueError("At least 2 rows of positive weight are needed.")
        return BlockData(sums, dealer, look, origin, model.fit_intercept)

    def class_factors(self, class_weight: Any) -> ClassFactors | None:
        """What ``class_weight`` multiplies weights with; a pass counts the classes."""
        if class_weight is None:
            return None
        counts = self.blocks.map_reduce(_count_classes, ClassCounts.plus)
        return factors_of_counts(class_weight, counts)

    def _dealer(self, look: Look, width: int) -> Dealer:
        """Folds as ``cv`` says, fewer where their moments do not fit."""
        cv = self.model.cv
        metadata = self.model.feature_metadata is not None
        n_folds, folds = 5, None
        if isinstance(cv, PredefinedSplit):
            n_folds, folds = _given_folds(cv)
        elif isinstance(cv, Integral):
            n_folds = int(cv)
        dealer = _with_halves(n_folds, metadata, self.seed, folds)
        while dealer.n_cells * 8 * width**2 > _BUDGET and cv is None and n_folds > 2:
            n_folds -= 1
            smaller = _with_halves(n_folds, metadata, self.seed, None)
            dealer = smaller if smaller.n_cells < dealer.n_cells else dealer
        if dealer.n_cells * 8 * width**2 > _BUDGET:
            raise ValueError(
                f"Moments of {dealer.n_cells} cells of {width} columns take "
                f"{dealer.n_cells * 8 * width**2 / 2**30:.1f} GiB, more than the "
                f"{_BUDGET / 2**30:.0f} GiB that row blocks may take: choose fewer "
                "columns or a smaller cv, or fit a random part of the rows in memory."
            )
        return dealer


def _tell(fit: FollowedFit, progress: PassProgress) -> None:
    done = f"{progress.n_blocks} blocks, {progress.n_rows:,} rows"
    fit.read("block", f"pass 1: {done}")


def _count_classes(block: Block) -> ClassCounts:
    return ClassCounts.of(block.y, block.weight)


def _with_halves(
    n_folds: int, metadata: bool, seed: int, folds: Array | None
) -> Dealer:
    """Halves where metadata are tuned on them, or a training set is a single fold."""
    return Dealer(n_folds, 2 if metadata else int(n_folds == 2), seed, folds)


def _given_folds(cv: PredefinedSplit) -> tuple[int, Array]:
    """Folds by the places of the rows."""
    given = np.asarray(cv.test_fold)
    if (given < 0).any():
        raise ValueError(
            "cv is a PredefinedSplit with rows that are in no fold (-1), and row "
            "blocks need a fold for every row."
        )
    distinct, folds = np.unique(given, return_inverse=True)
    return len(distinct), folds.ravel()


def check_numbers(look: Look) -> None:
    """Raise where y holds labels."""
    if look.kind not in "biuf":
        raise ValueError(
            "y holds values that are not numbers; use a classifier for labels."
        )


def check_parameters(model: Any) -> str:
    """The criterion of the shared strength; raise where rows would have to be kept."""
    cv = model.cv
    known = cv is None or isinstance(cv, Integral | PredefinedSplit)
    closed = isinstance(cv, str) and cv in OF_MOMENTS
    if not (known or closed):
        raise ValueError(
            f"cv={cv!r} needs all rows at once, and they come in blocks: give a number "
            "of folds, PredefinedSplit(folds) with the fold of every row, a name of "
            f"{OF_MOMENTS}, or groups beside the rows: whole ones are dealt to folds."
        )
    if model.scoring is not None:
        raise ValueError(
            f"scoring={model.scoring!r} is for rows in memory: with row blocks leave "
            "scoring=None, and score predictions of rows that were left out."
        )
    if callable(model.feature_metadata):
        raise ValueError(
            "feature_metadata is a function of rows, which come in blocks: give an "
            "array of shape (n_features, q)."
        )
    if not (isinstance(model.solver, str) and model.solver in ("auto", "exact")):
        raise ValueError(
            f"solver={model.solver!r} is for rows in memory: row blocks are known by "
            "moments, which factorizations solve; leave solver='auto'."
        )
    return cv if closed else "folds"
