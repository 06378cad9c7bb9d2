"""What the names of ``cv`` mean: one entry for each criterion of all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skbilevel import problems, solvers
from skbilevel._records import record
from skbilevel.problems._evidence import (
    EvidenceVariance,
    KernelEvidence,
    MomentEvidence,
)
from skbilevel.problems._kernel import KernelRows, KernelSet

if TYPE_CHECKING:
    from skbilevel.model_selection._glm_source import GLMSource
    from skbilevel.model_selection._row_criteria import RowSource
    from skbilevel.problems import Criterion, QuadraticDataFit
    from skbilevel.solvers._base import Hypergradient


@record
class NamedCriterion:
    """How the criterion of a name is made; None where there is none.

    Parameters
    ----------
    rows : callable
        Of squared losses, from a source of rows.
    moments : callable or None
        Of squared losses, from moments of swept rows and the number of unpenalized
        columns; row blocks are known by them alone.
    likelihood : callable or None
        The hypergradient of likelihoods, from their source.
    words : tuple of two str
        What the value is called, for squares and for likelihoods.
    guarded : bool
        Whether the guard takes the name, as the criterion of the shared strength.
    """

    rows: Callable[[RowSource], Criterion]
    moments: Callable[[QuadraticDataFit, int], Criterion] | None = None
    likelihood: Callable[[GLMSource], Hypergradient] | None = None
    words: tuple[str, str] = ("validation MSE", "validation loss")
    guarded: bool = True


def _evidence(fit: QuadraticDataFit, n_free: int) -> EvidenceVariance:
    evidence = MomentEvidence(fit.take(None), n_free=n_free)
    square = np.diagonal(fit.gram)
    weight = float(fit.weight_sum)
    return EvidenceVariance(evidence, square, fit.n_targets, weight, n_free)


def _evidence_of_rows(source: RowSource) -> EvidenceVariance:
    rows = source.rows
    if not source.dual:
        return _evidence(source.swept.moments, rows.n_free)
    kernel = replace(KernelRows.of(rows), metric=source.metric)
    evidence = KernelEvidence(
        KernelSet(kernel, np.arange(rows.n_rows)), n_free=rows.n_free
    )
    square, weight = source.fit.curvature_diag, float(source.fit.weight_sum)
    return EvidenceVariance(evidence, square, rows.n_targets, weight, rows.n_free)


def _marginal_likelihood(source: GLMSource) -> Hypergradient:
    from skbilevel.solvers.hypergradient._implicit import MarginalLikelihood

    return MarginalLikelihood(*source.null_deviance)


# Packages load what is asked of them: the guard reads the names alone.
CRITERIA = {
    "loo": NamedCriterion(
        rows=lambda source: problems.LeaveOneOut(source.swept, source.dual),
        likelihood=lambda source: solvers.ApproximateLeaveOneOut(),
    ),
    "gcv": NamedCriterion(
        rows=lambda source: problems.GCV.of(source.swept, source.dual),
        moments=lambda fit, n_free: problems.GCV(fit, float(n_free)),
    ),
    "reml": NamedCriterion(
        rows=_evidence_of_rows,
        moments=_evidence,
        likelihood=_marginal_likelihood,
        words=("marginal likelihood, as a variance",) * 2,
        guarded=False,
    ),
}
# Those of row blocks, and those of classes, counts and amounts.
OF_MOMENTS = [name for name, each in CRITERIA.items() if each.moments]
OF_LIKELIHOODS = [name for name, each in CRITERIA.items() if each.likelihood]
