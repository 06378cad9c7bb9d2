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
from sklearn.utils.metaestimators import available_if

from skbilevel._array_api import need_rows_in_memory
from skbilevel._label_functions import asks_for_transformer
from skbilevel.preprocessing._additive_blocks import in_blocks, predicted
from skbilevel.preprocessing._original_columns import terms_of
from skbilevel.preprocessing._penalized_splines import PenalizedSplines
from skbilevel.preprocessing._spline_products import (
    TensorSplines,
    VaryingCoefficients,
)

_NUMBER = re.compile(r"u?int\d*|float\d*|double|decimal", re.IGNORECASE)
_CATEGORY = re.compile(
    r"object|str|string|category|categorical|enum|bool|boolean|utf8|large_string",
    re.IGNORECASE,
)


def _by_rows(name: str) -> Any:
    """Pipeline's method of this name, which makes the columns of some rows at once."""

    def method(self: Any, X: Any, **params: Any) -> Any:
        return predicted(getattr(super(AdditivePipeline, self), name), X, params)

    method.__name__, method.__doc__ = name, getattr(Pipeline, name).__doc__
    known = available_if(lambda self: getattr(super(AdditivePipeline, self), name))
    return known(method)


class AdditivePipeline(Pipeline):
    """A Pipeline whose last step can ask what the steps before it made.

    Where ``feature_groups`` of the last step is a function of a ``transformer``, such
    as `terms_of`, it gets the fitted steps. scikit-learn's own Pipeline tells its last
    step nothing of them. Where the columns of all terms would be more than fifty
    million numbers, they are made block by block, for a last step that takes
    `RowBlocks`; predictions make those of 32,768 rows at once. All else is
    scikit-learn's.
    """

    predict = _by_rows("predict")
    predict_proba = _by_rows("predict_proba")
    predict_log_proba = _by_rows("predict_log_proba")
    decision_function = _by_rows("decision_function")

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
        need_rows_in_memory(self, X, "the columns of its terms are made by SciPy")
        last = self.steps[-1][1]
        make = getattr(last, "feature_groups", None)
        if not (callable(make) and asks_for_transformer(make)):
            self._fit_steps(X, y, params)
            return self
        # The steps are fitted when the last one calls it.
        last.set_params(feature_groups=lambda names: make(transformer=self[:-1]))
        try:
            self._fit_steps(X, y, params)
        finally:
            last.set_params(feature_groups=make)
        return self

    def _fit_steps(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        """All rows at once, or in blocks where their columns would be too large."""
        blocks = in_blocks(self, X, y, params)
        if blocks is None:
            super().fit(X, y, **params)
        else:
            self.steps[-1][1].fit(blocks)


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
        framed = hasattr(X, "columns")
        names = list(X.columns) if framed else list(range(np.shape(X)[1]))
        factors = _named(self.categorical or (), names, "categorical")
        lines = _named(self.linear, names, "linear")
        guessed = self.categorical is None
        kinds = dict.fromkeys(names, "smooth")
        for name in names if framed else ():
            if name not in factors:
                kinds[name] = _kind_of(name, X[name].dtype, guessed)
        kinds |= dict.fromkeys(factors, "categorical")
        both = sorted(str(name) for name in lines if kinds[name] == "categorical")
        if both:
            raise ValueError(
                f"linear and categorical both hold {both}: a column is one of them."
            )
        kinds |= dict.fromkeys(lines, "linear")
        chosen = [k for k, name in enumerate(names) if kinds[name] == self.kind]
        named = all(isinstance(name, str) for name in names)
        return [names[k] for k in chosen] if named else chosen


@dataclass(frozen=True)
class NumericPair:
    """Chooses two columns of a table, which hold numbers.

    Parameters
    ----------
    parameter : str
        The one of `make_additive` that names them.
    pair : list of names or places
        The columns.
    """

    parameter: str
    pair: list[Any]

    def __call__(self, X: Any) -> list[Any]:
        """The pair, if the types of its columns are those of numbers."""
        for name in self.pair if hasattr(X, "columns") else ():
            if name not in X.columns:
                continue
            dtype = str(X[name].dtype)
            if _CATEGORY.match(dtype) and not dtype.lower().startswith("bool"):
                raise ValueError(
                    f"{self.parameter} names column {name!r}, which holds {dtype}: its "
                    "pairs are of numbers. Make a column of zeros and ones of every "
                    "category that matters, and name these."
                )
        return self.pair


def make_additive(
    estimator: Any,
    *,
    categorical: Any = None,
    linear: Any = (),
    smooth: PenalizedSplines | None = None,
    varying: Sequence[tuple[Any, Any]] = (),
    interactions: Sequence[tuple[Any, Any]] = (),
) -> Pipeline:
    """Make a pipeline that fits an additive model: smooth terms, lines and factors.

    The prediction, or its logarithm or log odds where the estimator has a link, is a
    sum of one term per column of the table: a penalized curve of a number, a level of
    each category, both shrunk by strengths that the estimator learns. A curve has two,
    of its line and of its bends, a factor has one; so curves become lines, and terms
    vanish, where the data do not need them.

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
    varying : list of pairs (x, z) of str or int, default=()
        Names or places of columns: the effect of each number z is a smooth curve of x
        (`VaryingCoefficients`), in addition to their own terms.
    interactions : list of pairs of str or int, default=()
        Pairs of numeric columns that have a smooth interaction (`TensorSplines`) in
        addition to their own terms.

    Returns
    -------
    model : Pipeline
        A `ColumnTransformer` and the estimator. Parameters of `fit` go to the estimator
        as in any pipeline: ``bilevelridgecv__sample_weight=...``.

    Raises
    ------
    TypeError
        If the estimator has no parameter ``feature_groups``.
    ValueError
        If ``varying`` or ``interactions`` holds something else than pairs.

    See Also
    --------
    skbilevel.preprocessing.PenalizedSplines : The columns of a smooth term.
    skbilevel.inspection.TermsDisplay : Draws the fitted terms.

    Notes
    -----
    Knots are placed once, on all rows that `fit` gets; the model is then tuned on folds
    of these rows. A `BilevelSearchCV` around the pipeline places them again in every
    fold. Where rows times columns are more than fifty million numbers, knots come from
    50,000 random rows (with every category and the ends of every column), and the
    estimator reads all rows in blocks, as it reads `RowBlocks`: the columns of the
    terms are never held as a whole. Nor are they for predictions; `score` makes those
    of all rows that it gets. The steps can be changed as those of any pipeline:
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
    >>> y += 0.2 * rng.standard_normal(200)
    >>> model = make_additive(BilevelRidgeCV()).fit(table, y)
    >>> model[-1].group_labels_
    array(['age: linear', 'age: wiggly', 'kind'], dtype='<U11')
    >>> bool(model.score(table, y) > 0.9)
    True
    """
    if not hasattr(estimator, "get_params") or "feature_groups" not in (
        estimator.get_params(deep=False)
    ):
        raise TypeError(
            f"{type(estimator).__name__} has no parameter feature_groups: "
            "make_additive takes estimators of skbilevel that learn strengths of "
            "columns. A search or a pipeline stands around what make_additive returns."
        )
    given = (_listed(categorical), _listed(linear) or ())
    parts = {
        "smooth": PenalizedSplines() if smooth is None else clone(smooth),
        "linear": StandardScaler(),
        "categorical": OneHotEncoder(handle_unknown="ignore"),
    }
    columns = ColumnTransformer(
        [(kind, part, ColumnsOfKind(kind, *given)) for kind, part in parts.items()]
        + _of_pairs("varying", varying, VaryingCoefficients())
        + _of_pairs("interactions", interactions, TensorSplines()),
        verbose_feature_names_out=False,
    )
    # The columns of factors are sparse, which no data frame takes as output.
    columns.set_output(transform="default")
    last = clone(estimator)
    if last.get_params(deep=False)["feature_groups"] is None:
        last.set_params(feature_groups=terms_of)
    name = type(last).__name__.lower()
    return AdditivePipeline([("columntransformer", columns), (name, last)])


def _of_pairs(
    name: str, pairs: Sequence[tuple[Any, Any]], made: Any
) -> list[tuple[str, Any, NumericPair]]:
    """A transformer for each pair of columns: ``varying1``, ``varying2``, ..."""
    out = []
    for k, pair in enumerate(pairs, 1):
        if isinstance(pair, str) or np.shape(pair) != (2,):
            raise ValueError(
                f"{name} holds {pair!r}: give a list of pairs of columns, for instance "
                f"{name}=[('hour', 'temperature')]."
            )
        out.append((f"{name}{k}", clone(made), NumericPair(name, list(pair))))
    return out


def _listed(given: Any) -> tuple[Any, ...] | None:
    if given is None:
        return None
    if isinstance(given, str | int):
        return (given,)
    return tuple(np.asarray(given).tolist())


def _named(given: Sequence[Any], names: Sequence[Any], parameter: str) -> list[Any]:
    """Names of columns that are given by these or by places."""
    found, unknown = [], []
    for each in given:
        if each in names:
            found.append(each)
        elif isinstance(each, int) and -len(names) <= each < len(names):
            found.append(names[each])
        else:
            unknown.append(each)
    if unknown:
        raise ValueError(f"{parameter} names columns that X does not have: {unknown}.")
    return found


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
