"""``cv_results_``: what the folds say about the strengths that were tried."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import rankdata

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model._publish import Published, PublishedFold
from skbilevel.search._fold_scores import FoldScores
from skbilevel.search._last_step import LastStep
from skbilevel.search._tuned_chain import TunedChain

# Strengths that are scored, those nearest to the best one.
_SCORED = 10
# Where X of all folds has more numbers than this, the best one alone is scored.
_SCORED_UP_TO = 20_000_000


@record
class Candidates:
    """What was tried: a value each, and the scores of its folds.

    Parameters
    ----------
    values : list
        Values of the parameter, increasing.
    scores : list of list of dict
        For every value and fold the scores by name.
    chosen : int
        The place of the best one.
    """

    values: list[Any]
    scores: list[list[dict[str, float]]]
    chosen: int


def score_candidates(
    step: LastStep, parts: list[Published], score: FoldScores
) -> Candidates:
    """Score the published models of the folds, and those of the values beside."""
    if parts[0].left_out is not None:
        published = score.left_out()
    else:
        published = score([part.folds for part in parts])
    tried = parts[0].tried
    if step.parameter is not None and tried is None:
        return Candidates([step.found()], [published], 0)
    if tried is None or step.parameter is None:
        alpha = np.stack([p.alpha for p in parts]) if len(parts) > 1 else parts[0].alpha
        return Candidates([alpha.view(Strengths)], [published], 0)
    near = _nearest(tried.alpha, tried.chosen, _affordable(parts[0].folds))
    values = step.strengths(tried.alpha[near])
    order = np.argsort(values, kind="stable")
    scores = []
    for k in near[order]:
        own = k == tried.chosen
        scores.append(published if own else score([tried.models(int(k))]))
    chosen = int(np.flatnonzero(near[order] == tried.chosen)[0])
    return Candidates([float(v) for v in values[order]], scores, chosen)


def _affordable(folds: Iterable[PublishedFold]) -> int:
    size = sum(fold.X.size for fold in folds)
    return _SCORED if size <= _SCORED_UP_TO else 1


def _nearest(alpha: Array, chosen: int, count: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = abs(np.log(alpha) - np.log(alpha[chosen]))
    distance[chosen] = -1.0
    distance = np.where(np.isnan(distance), np.inf, distance)
    return np.sort(np.argsort(distance, kind="stable")[:count])


def results_table(
    candidates: Candidates, name: str, tuned: TunedChain
) -> dict[str, Any]:
    """``cv_results_`` in the form of GridSearchCV.

    The time of a fit is that of the transformers of a fold, and an even share of the
    joint search.
    """
    n = len(candidates.values)
    own = tuned.transformer_seconds
    search = max(0.0, tuned.seconds[1] - float(own.sum()))
    each = own + search / (n * len(own))
    out: dict[str, Any] = {
        "mean_fit_time": np.full(n, each.mean()),
        "std_fit_time": np.full(n, each.std()),
        f"param_{name}": _column(candidates.values),
        "params": [{name: value} for value in candidates.values],
    }
    for metric in candidates.scores[0][0]:
        scores = np.array(
            [[fold[metric] for fold in folds] for folds in candidates.scores]
        )
        for k, column in enumerate(scores.T):
            out[f"split{k}_test_{metric}"] = column
        mean = scores.mean(axis=1)
        out[f"mean_test_{metric}"] = mean
        out[f"std_test_{metric}"] = scores.std(axis=1)
        filled = np.where(np.isnan(mean), -np.inf, mean)
        rank = rankdata(-filled, method="min").astype(np.int32)
        out[f"rank_test_{metric}"] = rank
    return out


class Strengths(np.ndarray):
    """An array of strengths that prints its ends only; use it as any other array."""

    def __repr__(self) -> str:
        with np.printoptions(threshold=6, edgeitems=2, precision=3):
            return repr(np.asarray(self))


def _column(values: list[Any]) -> Any:
    """A masked array, as GridSearchCV makes it; arrays of strengths are objects."""
    if all(isinstance(value, float) for value in values):
        return np.ma.MaskedArray(values, mask=False)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return np.ma.MaskedArray(column, mask=False)
