"""Additive models: pipelines of smooth terms, factors and an estimator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel._label_functions import asks_for_transformer
from skbilevel.preprocessing._original_columns import terms_of
from skbilevel.preprocessing._penalized_splines import PenalizedSplines

_NUMBER = re.compile(r"u?int\d*|float\d*|double|decimal", re.IGNORECASE)
_CATEGORY = re.compile(
    r"object|str|string|category|categorical|enum|bool|boolean|utf8|large_string",
    re.IGNORECASE,
)
_KINDS = ("smooth", "linear", "categorical")


class AdditivePipeline(Pipeline):
    """A Pipeline whose last step can ask what the steps before it made.

    Where ``feature_groups`` of the last step is a function of a ``transformer``, such as
    `terms_of`, it gets the fitted steps. scikit-learn's own Pipeline tells its last step
    nothing of them. All else is scikit-learn's.
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> AdditivePipeline:
        """Fit the transformers and the last step.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,), default=None
            Targets.
        **params : dict
            As in Pipeline: ``<step>__sample_weight``, or what is routed.

        Returns
        -------
        self : AdditivePipeline
            The fitted pipeline.
        """
        last = self.steps[-1][1]
        make = getattr(last, "feature_groups", None)
        if not (callable(make) and asks_for_transformer(make)):
            return super().fit(X, y, **params)
        # The steps are fitted when the last one calls it.
        last.set_params(feature_groups=lambda names: make(transformer=self[:-1]))
        try:
            return super().fit(X, y, **params)
        finally:
            last.set_params(feature_groups=make)


@dataclass(frozen=True)
class ColumnsOfKind:
    """Chooses the columns of a table that become terms of one kind.

    Parameters
    ----------
    kind : {"smooth", "linear", "categorical"}
        Which columns.
    categorical, linear : list of names or places, or None
        As in `make_additive`.
    """

    kind: str
    categorical: tuple[Any, ...] | None
    linear: tuple[Any, ...]

    def __call__(self, X: Any) -> list[Any]:
        """Names of the columns, or places where the table has no names."""
        kinds = self._kinds(X)
        every = list(X.columns) if hasattr(X, "columns") else range(len(kinds))
        return [each for each, kind in zip(every, kinds, strict=True) if kind == self.kind]

    def _kinds(self, X: Any) -> list[str]:
        if not hasattr(X, "columns"):
            n_columns = np.shape(X)[1]
            factors = _places(self.categorical or (), range(n_columns), "categorical")
            kinds = ["smooth"] * n_columns
        else:
            names = list(X.columns)
            factors = _places(self.categorical or (), names, "categorical")
            kinds = [
                _kind_of(name, dtype, self.categorical is None or k in factors)
                for k, (name, dtype) in enumerate(zip(names, X.dtypes, strict=True))
            ]
        every = list(X.columns) if hasattr(X, "columns") else range(len(kinds))
        lines = _places(self.linear, every, "linear")
        for k in factors:
            kinds[k] = "categorical"
        both = sorted({str(every[k]) for k in lines if kinds[k] == "categorical"})
        if both:
            raise ValueError(
                f"linear and categorical both hold {both}: a column is one of them."
            )
        for k in lines:
            kinds[k] = "linear"
        return kinds


def make_additive(
    estimator: Any,
    *,
    categorical: Any = None,
    linear: Any = (),
    smooth: PenalizedSplines | None = None,
) -> Pipeline:
    """Make a pipeline that fits an additive model: smooth terms, lines and factors.

    The prediction, or its logarithm or log odds where the estimator has a link, is a sum
    of one term per column of the table: a penalized curve of a number, a level of each
    category, both shrunk by strengths that the estimator learns. A curve has two, of its
    line and of its bends, a factor has one; so curves become lines, and terms vanish,
    where the data do not need them.

    Parameters
    ----------
    estimator : estimator
        One that learns strengths: `BilevelRidgeCV`, `BilevelLogisticCV`,
        `BilevelPoissonCV`, `MetaRidge`, ... It is cloned, and gets
        ``feature_groups=terms_of`` where its ``feature_groups`` is None.
    categorical : list of str or int, or None, default=None
        Names or places of columns that are categories. None takes the columns of a data
        frame that hold texts, categories or booleans, and none of an array. Categories
        that `fit` has not seen have the effect 0.
    linear : list of str or int, default=()
        Names or places of numeric columns that stay lines.
    smooth : PenalizedSplines, default=None
        Makes the curves: knots, degree, what to do with missing values. None is
        ``PenalizedSplines()``.

    Returns
    -------
    model : Pipeline
        A `ColumnTransformer` and the estimator. Parameters of `fit` go to the estimator
        as in any pipeline: ``bilevelridgecv__sample_weight=...``.

    Raises
    ------
    TypeError
        If the estimator has no parameter ``feature_groups``.

    See Also
    --------
    skbilevel.preprocessing.PenalizedSplines : The columns of a smooth term.
    skbilevel.inspection.TermsDisplay : Draws the fitted terms.

    Notes
    -----
    Knots are placed once, on all rows that `fit` gets; the model is then tuned on folds
    of these rows. A `BilevelSearchCV` around the pipeline places them again in every
    fold. The steps can be changed as those of any pipeline:
    ``set_params(columntransformer__smooth__n_knots=20)``.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skbilevel import BilevelRidgeCV, make_additive
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"age": rng.uniform(20, 80, 200),
    ...                       "kind": rng.choice(["a", "b", "c"], 200)})
    >>> y = np.sin(table["age"] / 10) + (table["kind"] == "a")
    >>> model = make_additive(BilevelRidgeCV()).fit(table, y)
    >>> model[-1].group_labels_
    array(['age: linear', 'age: wiggly', 'kind'], dtype='<U11')
    >>> bool(model.score(table, y) > 0.99)
    True
    """
    if not hasattr(estimator, "get_params") or "feature_groups" not in (
        estimator.get_params(deep=False)
    ):
        raise TypeError(
            f"{type(estimator).__name__} has no parameter feature_groups: make_additive "
            "takes estimators of skbilevel that learn strengths of columns. A search or "
            "a pipeline stands around what make_additive returns."
        )
    given = (_listed(categorical), _listed(linear) or ())
    parts = (
        PenalizedSplines() if smooth is None else clone(smooth),
        StandardScaler(),
        OneHotEncoder(handle_unknown="ignore"),
    )
    columns = ColumnTransformer(
        [
            (kind, part, ColumnsOfKind(kind, *given))
            for kind, part in zip(_KINDS, parts, strict=True)
        ],
        verbose_feature_names_out=False,
    )
    last = clone(estimator)
    if last.get_params(deep=False)["feature_groups"] is None:
        last.set_params(feature_groups=terms_of)
    name = type(last).__name__.lower()
    return AdditivePipeline([("columntransformer", columns), (name, last)])


def _listed(given: Any) -> tuple[Any, ...] | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str | int) else tuple(np.asarray(given).tolist())


def _places(given: Sequence[Any], every: Sequence[Any], parameter: str) -> set[int]:
    """Places of columns that are given by names or places."""
    known = {name: k for k, name in enumerate(every)}
    places, unknown = set(), []
    for each in given:
        if each in known:
            places.add(known[each])
        elif isinstance(each, int) and -len(every) <= each < len(every):
            places.add(each % len(every))
        else:
            unknown.append(each)
    if unknown:
        raise ValueError(f"{parameter} names columns that X does not have: {unknown}.")
    return places


def _kind_of(name: Any, dtype: Any, may_be_factor: bool) -> str:
    """What a column of a data frame becomes by its type."""
    if _NUMBER.match(str(dtype)):
        return "smooth"
    if not _CATEGORY.match(str(dtype)):
        raise ValueError(
            f"Column {name!r} holds {dtype}, which is neither a number nor a category: "
            "make a number of it, or leave it out."
        )
    if not may_be_factor:
        raise ValueError(
            f"Column {name!r} holds {dtype} and is not in categorical: name it there, "
            "make a number of it, or leave it out."
        )
    return "categorical"
