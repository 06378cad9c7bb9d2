"""One free deviation per column, beside what metadata say of its strength.

``log v = center + Z beta + delta`` with the hyperpenalty ``lam sum_j e_j delta_j^2``,
``e`` the emphasis of the columns. As many deviations as columns fit any hold-out, so
``lam`` is large: what is left is a single step along the hypergradient, which the last
point of the search for ``beta`` has computed already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging, Choice
from skbilevel.model_selection._held_out import HeldOut


@dataclass(frozen=True)
class Deviations:
    """Deviations of one training set.

    Parameters
    ----------
    delta : ndarray of shape (p,) or (p, t)
        Added to ``log v``.
    lam : float
        Weight of their mean square, in the units of the slope.
    """

    delta: Array
    lam: float

    @classmethod
    def of(cls, slope: Array, emphasis: Array, largest: float) -> Deviations:
        """Minimum of ``slope . delta + lam sum_j emphasis_j delta_j^2``.

        ``lam`` is the one with which no deviation exceeds ``largest``: a rule without
        units. Columns that do not occur have no emphasis, and none.
        """
        if slope.ndim == 2:
            emphasis = np.repeat(emphasis[:, None] / slope.shape[1], slope.shape[1], 1)
        pull = np.divide(slope, emphasis, out=np.zeros_like(slope), where=emphasis > 0)
        lam = float(np.max(np.abs(pull), initial=0.0)) / (2.0 * largest)
        if not 0.0 < lam < np.inf:
            return cls(np.zeros_like(slope), np.inf)
        return cls(-pull / (2.0 * lam), lam)

    def in_units(self, null: float) -> float:
        """``lam`` in units of the loss of the null model; infinite without a slope."""
        return self.lam / null if null > 0 else np.inf


def choose_refined(averaging: Averaging, held: HeldOut) -> Choice:
    """Weigh the candidates; the third refines the second and never joins it.

    The third replaces the second if it has the larger weight in a comparison of the
    two, that is, if it gains more than ``pessimism`` standard errors.
    """
    whole = averaging.choose(held)
    if len(whole.loss) < 3:
        return whole
    pair = averaging.choose(held.only([1, 2])).weight
    taken = 2 if pair[1] > pair[0] else 1
    among = averaging.choose(held.only([0, taken]))
    a = np.zeros(3)
    a[[0, taken]] = among.weight
    return Choice(whole.loss, whole.error, a)
