"""What the guard is told, whatever the form of its work."""

from __future__ import annotations

from dataclasses import field

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._limits import Limits
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._progress import Listener
from skbilevel.model_selection._resampling import NestedPlan
from skbilevel.model_selection._row_views import RowViews


@record
class GuardTerms:
    """Rows, rules of the choice, and what the user says of strengths.

    Parameters
    ----------
    views : RowViews
        The rows, as every fold sees them.
    plan : NestedPlan
        Outer folds, and what is inside of them.
    averaging : Averaging
        Rules of the choice.
    members : ndarray of shape (p,), or (p t,) where targets have their own, or None
        Labels of columns that share a strength.
    metadata : Metadata or None
        What is known of the columns.
    limits : Limits
        Box of the variances, and where paths start.
    listener : Listener or None
        Is told what is done, and may end the search.
    """

    views: RowViews
    plan: NestedPlan
    averaging: Averaging
    members: Array | None = None
    metadata: Metadata | None = None
    limits: Limits = field(default_factory=Limits)
    listener: Listener | None = None
