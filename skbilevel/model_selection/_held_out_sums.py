"""What candidates predict for rows that are known by their moments.

Mean losses of combinations are quadratic forms of the moments of the folds, exact for
all rows. Standard errors need the loss of every row: they come from the rows of a
random sample, which is all of them where they are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._held_out import Objective, clustered_error
from skbilevel.problems._summed_rows import SummedRows

# Fewer whole groups in a sample say less of the error of a mean than rows of all do.
LEAST_UNITS = 100


@dataclass(frozen=True)
class SummedHeldOut:
    """The interface of `HeldOut` for c candidates and squared errors.

    Parameters
    ----------
    form : ndarray of shape (c, c)
        ``sum_i s_i r_ik . r_il`` of the residuals of candidates k and l on held-out
        rows, over ``total``.
    total : float
        Sum of the weights of held-out rows.
    residuals : ndarray of shape (s, c, t)
        Residuals of the rows of the sample.
    weight : ndarray of shape (s,)
        Their weights.
    units : ndarray of shape (s,)
        Their units of resampling.
    share : float
        The part of all rows that is in the sample.
    whole : bool
        Whether all rows of a unit are in the sample, or none.
    """

    form: Array
    total: float
    residuals: Array
    weight: Array
    units: Array
    share: float
    whole: bool = True

    @classmethod
    def of(
        cls, rows: SummedRows, held_out: Sequence[Array], coefs: Iterable[Array]
    ) -> SummedHeldOut:
        """From cells that are held out, and coefficients (c, n_free + p, t)."""
        sample, form, total = rows.sample, None, 0.0
        assert sample is not None
        residuals, found = [], []
        for cells, coef in zip(held_out, coefs, strict=True):
            part = _form(rows.moment(cells), coef)
            form = part if form is None else form + part
            total += float(rows.weight[cells].sum())
            index = np.flatnonzero(np.isin(rows.sample_cell, cells))
            c, width, t = coef.shape
            flat = np.moveaxis(coef, 0, 1).reshape(width, c * t)
            eta = sample.predict(index, flat).reshape(len(index), c, t)
            residuals.append(eta - sample.targets(index)[:, None])
            found.append(index)
        assert form is not None
        index = np.concatenate(found)
        seen = len(rows.sample_cell)
        # In the order of the units, as rows in memory are.
        order = np.argsort(rows.sample_unit[index], kind="stable")
        index, left = index[order], np.concatenate(residuals)[order]
        units = rows.sample_unit[index]
        return cls(
            form / total,
            total,
            left,
            sample.weight[index],
            units,
            seen / rows.n_counted,
            rows.whole_units,
        )

    @property
    def mean_loss(self) -> Array:
        """Mean squared errors (c,), summed over targets."""
        return np.maximum(np.diagonal(self.form), 0.0)

    @cached_property
    def _excess(self) -> Array:
        """Losses (c, s) of the rows of the sample beyond those of the first."""
        losses = (self.residuals**2).sum(axis=-1).T
        return np.asarray(losses - losses[0])

    @property
    def error(self) -> Array:
        """Standard errors (c,) of the differences to the first candidate."""
        mean = self.mean_loss - self.mean_loss[0]
        return self._error(self._excess - mean[:, None])

    def _error(self, centered: Array) -> Array:
        """Of sums over all rows, of which the sample has a share; over ``total``.

        With ``T_u`` the sum over the sampled rows of a unit and f the share, the sum of
        squares over all units is ``sum_u T_u^2 / f`` of whole units. Of units of which
        a share of the rows is in the sample it is, without bias ::

            sum_u T_u^2 / f^2 - (1 / f) (1 / f - 1) sum_i (s_i x_i)^2

        (Horvitz and Thompson, 1952), and not less than that of rows of their own.
        """
        own = clustered_error(centered, self.weight, self.units)
        square, f = (own * self.weight.sum()) ** 2, self.share
        if self.whole:
            return np.asarray(np.sqrt(square / f) / self.total)
        single = (centered * self.weight) ** 2
        rows = single.sum(axis=1) / f
        square = square / f**2 - rows * (1.0 / f - 1.0)
        return np.asarray(np.sqrt(np.maximum(square, rows)) / self.total)

    def gain(self, a: Array) -> tuple[float, float]:
        """Mean loss of a combination beyond that of the first, and its error."""
        mean = float(a @ self.form @ a) - float(self.mean_loss[0])
        rest = np.tensordot(a, self.residuals, axes=(0, 1))
        along = (rest**2).sum(axis=-1) - (self.residuals[:, 0] ** 2).sum(axis=-1)
        return mean, float(self._error((along - mean)[None])[0])

    def objective(self, kept: Array) -> Objective:
        """Mean loss of combinations of some candidates, and two derivatives."""
        H = 2.0 * self.form[np.ix_(kept, kept)]
        return lambda a: (0.5 * float(a @ H @ a), H @ a, H)


def _form(moment: Array, coef: Array) -> Array:
    """``sum_t (W_kt - e_t)^T M (W_lt - e_t)`` of candidates k and l."""
    c, width, t = coef.shape
    flat = np.zeros((c, t, width + t))
    flat[:, :, :width] = np.swapaxes(coef, 1, 2)
    flat[:, np.arange(t), width + np.arange(t)] = -1.0
    moved = flat.reshape(c * t, -1) @ moment
    return np.einsum("ktw,ltw->kl", moved.reshape(c, t, -1), flat, optimize=True)
