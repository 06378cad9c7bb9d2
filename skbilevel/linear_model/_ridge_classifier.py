"""BilevelRidgeClassifierCV: BilevelRidgeCV on class indicators."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin

from skbilevel._array_api import positive
from skbilevel._sklearn_compat import StrOptions, _fit_context
from skbilevel._typing import Array
from skbilevel.blocks import RowBlocks
from skbilevel.linear_model._base import BilevelLinearModel, check_weight, seed_of
from skbilevel.linear_model._block_data import indicator_code
from skbilevel.linear_model._block_fit import BlockReader, check_parameters
from skbilevel.linear_model._class_scores import ClassScoresMixin
from skbilevel.linear_model._classes import (
    class_factors,
    label_columns,
    read_labels,
)
from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import prepare
from skbilevel.linear_model._export import plain_ridge_classifier
from skbilevel.linear_model._lazily import lazily
from skbilevel.linear_model._publish import Published
from skbilevel.linear_model._scoring import ScoringMixin, nested_score


class BilevelRidgeClassifierCV(
    ScoringMixin, ClassScoresMixin, ClassifierMixin, BilevelLinearModel
):
    """Classifier by ridge regression on class indicators, strengths tuned.

    It stands beside `BilevelRidgeCV` as `RidgeClassifierCV` stands beside `RidgeCV`:
    targets are -1 and 1, one column for two classes and one per class otherwise, and
    the strengths are shared by the columns. Rows with several labels come as an
    indicator matrix, and every label is a column. With ``s_i`` the row weights it
    minimizes ::

        0.5 sum_i s_i |Y_i - b - x_i W|^2 + 0.5 sum_j alpha_j |W_j|^2

    Parameters
    ----------
    fit_intercept, feature_groups, feature_metadata, unpenalized, hyperpenalty, cv : ...
    solver, scoring, alpha_init, alpha_bounds : ...
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" gives all
        classes the same total weight; for an indicator matrix it is the only choice,
        and the product of what it gives in each column.
    tol, max_iter, n_jobs, random_state, verbose : ...

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of rows that have a weight; the numbers of the columns where ``y``
        is an indicator matrix.
    y_type_ : {"classes", "dense", "sparse"}
        Whether ``y`` held labels, or how an indicator matrix was given.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row for two classes; exactly 0 for removed features. float32
        where X is.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    alpha_ : ndarray of shape (n_features,)
        Strengths in units of Ridge; inf where a feature is removed, 0 where it is
        unpenalized. ``coef_`` is the ridge solution at these strengths.
    group_alpha_, group_labels_ : ...
    best_score_ : float
        Nested score of the published model, greater is better: ``scoring``, or minus
        the mean squared error of the indicators. It is optimistic by
        the choice among the candidates.
        With ``cv="reml"`` it is minus the likelihood as a variance, in squared units
        of the target.
    n_iter_, history_, hyperpenalty_, n_features_in_, feature_names_in_ : ...

    See Also
    --------
    BilevelRidgeCV : The same for numbers.
    sklearn.linear_model.RidgeClassifierCV : One strength for all features.

    References
    ----------
    ...

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbilevel import BilevelRidgeClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), BilevelRidgeClassifierCV()).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    class_weight: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        feature_groups: Any = None,
        feature_metadata: Any = None,
        unpenalized: Any = None,
        hyperpenalty: Any = "auto",
        cv: Any = None,
        solver: Any = "auto",
        scoring: Any = None,
        alpha_init: Any = None,
        alpha_bounds: Any = None,
        class_weight: Any = None,
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any
    ) -> BilevelRidgeClassifierCV:
        """Tune the strengths and fit the coefficients.

        Parameters
        ----------
        X : ...
        y : {array-like, sparse matrix} of shape (n_samples,) or (n_samples, n_classes)
            Class labels of any type; or, where a row can have several or none, an
            indicator matrix of 0 and 1 with two columns or more. None where X is a
            `RowBlocks`, which holds them.
        sample_weight : ...
        **params : ...

        Returns
        -------
        self : BilevelRidgeClassifierCV
            The fitted estimator.

        Raises
        ------
        ...
        """
        self._fit(X, y, sample_weight, params, self._resampling)
        return self

    def _fit_copy(
        self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any], resample: Any
    ) -> list[Published]:
        given = (X, y, {"sample_weight": sample_weight})
        X, y = self._validate(X, y, y_numeric=False, multi_output=True)
        y, kind = read_labels(y)
        weight = check_weight(sample_weight, X)
        counts = RowCounts.of(weight, class_factors(self.class_weight, y, weight))
        classes, present = label_columns(counts.take(y))
        resampling = resample(X, y, sample_weight, params).among(counts)
        target = np.where(present, 1.0, -1.0)
        free, groups = self._strength_columns(X, resampling)
        columns = (free, self.fit_intercept, groups is not None)
        data = prepare(counts.take(X), target, counts, *columns)
        attributes = partial(self._attributes, X.dtype, classes, kind)
        fit = self._followed(*given, attributes)
        part = self._fit_part(data, groups, resampling, fit.parts[0])
        score = partial(nested_score, self, X, y, [part], sample_weight, params)
        return self._conclude(fit, [part], score)

    def _fit_blocks(self, blocks: RowBlocks) -> list[Published]:
        criterion = check_parameters(self)
        reader = BlockReader(self, blocks, seed_of(self.random_state))
        look = reader.look()
        factor = reader.class_factors(self.class_weight)
        kind = "labels" if look.n_targets == 1 else "indicators"
        zeros = np.zeros(look.n_targets)
        fit = self._followed(blocks, None, {}, partial(self._attributes, look.dtype))
        read = reader.read(look, kind, zeros, fit, factor)
        code = indicator_code(read.sums.classes, look.n_targets)
        resampling = read.resampling(criterion)
        free, groups = self._strength_columns(look.columns, resampling)
        data = read.prepared(code, free, groups is not None)
        classes = np.arange(look.n_targets) if code.classes is None else code.classes
        form = "classes" if kind == "labels" else "dense"
        fit.attributes = partial(self._attributes, look.dtype, classes, form)
        part = self._fit_part(data, groups, resampling, fit.parts[0])
        return self._conclude(fit, [part], lambda: np.nan)

    @lazily
    def predict(self, X: Any) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or matrix of shape (n_samples, n_classes)
            Labels; where ``y`` was an indicator matrix, one of 0 and 1, sparse if that
            was.
        """
        if getattr(self, "y_type_", "classes") == "classes":
            return super().predict(X)
        present = positive(self._scores(X, "predict"))
        if self.y_type_ == "dense":
            return present
        labels: Any = sparse.csr_matrix(present)  # as RidgeClassifierCV does
        return labels

    def _plain_model(self) -> Any:
        return plain_ridge_classifier(self)

    def _attributes(
        self, dtype: Any, classes: Array, kind: str, parts: list[Published]
    ) -> dict[str, Any]:
        return {
            "classes_": classes,
            "y_type_": kind,
            "coef_": parts[0].coef.astype(dtype),
            "intercept_": parts[0].intercept.astype(dtype),
            **self._search_attributes(parts),
        }
