"""Which columns of a table the columns that transformers made come from."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from skbilevel._sklearn_compat import input_columns
from skbilevel._typing import Array


@dataclass(frozen=True)
class Source:
    """What a column comes from.

    Parameters
    ----------
    columns : frozenset of int
        Columns of the table.
    part : str
        What it is of the term that is made of them, where its transformer says so by
        an attribute ``parts_``: "linear", "wiggly"; "" elsewhere.
    """

    columns: frozenset[int]
    part: str = ""

    @classmethod
    def joined(cls, sources: list[Source]) -> Source:
        """What is made of several; of one it is the same."""
        if len(sources) == 1:
            return sources[0]
        return cls(frozenset().union(*(each.columns for each in sources)))


# Of every column.
Sources = list[Source]

# Stand for names of input columns, in characters that no category has.
_OPEN, _CLOSE = "\ue000", "\ue001"
_TOKEN = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
# Names that a label of several columns shows.
_SHOWN = 3


def original_columns(transformer: Any) -> Array:
    """Label every column that fitted transformers made by the column it comes from.

    The labels are what ``feature_groups`` takes: all columns that an encoder made of
    one column of the table share a strength then. Nothing is guessed from the names:
    the transformers are taken apart, and each is asked for the names that it makes of
    names that cannot be mistaken.

    Parameters
    ----------
    transformer : transformer
        A fitted `ColumnTransformer`, `FeatureUnion`, Pipeline of transformers, or any
        other transformer that has ``get_feature_names_out``. One without it is taken to
        work column by column where it makes as many columns as it gets.

    Returns
    -------
    labels : ndarray of str of shape (n_columns,)
        Name of the original column, ``x0``, ``x1``, ... where the table has no names.
        What is made of several columns, a product in `PolynomialFeatures` for instance,
        has a label for each set of them: ``"age & bmi"``; a principal component comes
        from all.

    Raises
    ------
    NotFittedError
        If the transformers are not fitted.
    TypeError
        If a step is no transformer.
    ValueError
        If a transformer does not say what its columns come from.

    Notes
    -----
    In a `BilevelSearchCV` give the function itself: the search calls it with the
    transformers that are fitted on all rows. So it does with any callable that has a
    parameter called ``transformer``. A plain Pipeline tells its last step nothing of
    the steps in front: fit them first, and give the labels as an array.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skbilevel import BilevelRidgeCV, BilevelSearchCV, original_columns
    >>> table = pd.DataFrame({"roof_type": ["flat", "hip", "gable"] * 20,
    ...                       "age": np.arange(60) % 7})
    >>> price = 2.0 * (table["roof_type"] == "hip") - 0.1 * table["age"]
    >>> columns = make_column_transformer(
    ...     (OneHotEncoder(), ["roof_type"]), remainder="passthrough")
    >>> original_columns(columns.fit(table))
    array(['roof_type', 'roof_type', 'roof_type', 'age'], dtype='<U9')
    >>> last = BilevelRidgeCV(feature_groups=original_columns)
    >>> search = BilevelSearchCV(make_pipeline(columns, last)).fit(table, price)
    >>> search.best_estimator_[-1].group_labels_
    array(['age', 'roof_type'], dtype='<U9')
    """
    sources, names = sources_of(transformer)
    return _labels([Source(each.columns) for each in sources], names)


def terms_of(transformer: Any) -> Array:
    """Label every column that fitted transformers made by its term, and its part of it.

    A smooth term that `PenalizedSplines` made has labels for its parts: with these as
    ``feature_groups`` each curve has a strength for its line and one for its bends, and
    can become a line or vanish. All columns that another transformer made of a column
    of the table have one label, as those of `original_columns`.

    Parameters
    ----------
    transformer : transformer
        Fitted, as in `original_columns`.

    Returns
    -------
    labels : ndarray of str of shape (n_columns,)
        ``"age: linear"``, ``"age: wiggly"``, ``"roof_type"``. Any transformer can have
        parts: it says by an attribute ``parts_`` what each of its columns is.

    Raises
    ------
    NotFittedError
        If the transformers are not fitted.
    TypeError
        If a step is no transformer.
    ValueError
        If a transformer does not say what its columns come from.

    See Also
    --------
    skbilevel.make_additive : Makes a pipeline in which these labels are set.
    skbilevel.original_columns : One label for all that comes from a column.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import terms_of
    >>> from skbilevel.preprocessing import PenalizedSplines
    >>> x = np.linspace(0, 1, 20)[:, None]
    >>> terms_of(PenalizedSplines(n_knots=3).fit(x))
    array(['x0: linear', 'x0: wiggly', 'x0: wiggly', 'x0: wiggly'],
          dtype='<U10')
    """
    sources, names = sources_of(transformer)
    return _labels(sources, names)


def sources_of(transformer: Any) -> tuple[Sources, list[str]]:
    """What every column that was made comes from, and names of the table's columns."""
    names = _names(transformer)
    first: Sources = [Source(frozenset([k])) for k in range(len(names))]
    return _through(transformer, first, None), names


def _names(transformer: Any) -> list[str]:
    """Names of the columns of the table; texts have no columns, and are one."""
    while isinstance(transformer, Pipeline):
        steps = [step for _, step in transformer.steps if not _is_nothing(step)]
        if not steps:
            break
        transformer = steps[0]
    names = getattr(transformer, "feature_names_in_", None)
    if names is not None:
        return [str(each) for each in names]
    return [f"x{k}" for k in range(getattr(transformer, "n_features_in_", 1))]


def _is_nothing(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _through(transformer: Any, sources: Sources, width: int | None) -> Sources:
    """Sources of what a transformer makes of columns with these sources.

    ``width`` is the number of columns that it makes, where that is known.
    """
    if _is_nothing(transformer):
        return sources
    if isinstance(transformer, Pipeline):
        steps = [step for _, step in transformer.steps]
        widths = [getattr(each, "n_features_in_", None) for each in steps[1:]]
        for step, known in zip(steps, [*widths, width], strict=True):
            sources = _through(step, sources, known)
        return sources
    if isinstance(transformer, ColumnTransformer):
        return _through_columns(transformer, sources)
    if isinstance(transformer, FeatureUnion):
        parts = [part for _, part in transformer.transformer_list if part != "drop"]
        return [each for part in parts for each in _through(part, sources, None)]
    return _made(transformer, sources, width)


def _through_columns(transformer: ColumnTransformer, sources: Sources) -> Sources:
    check_is_fitted(transformer)
    places = input_columns(transformer)
    made = getattr(transformer, "output_indices_", {})  # none where nothing is made
    out: Sources = []
    for name, part, _ in transformer.transformers_:
        width = made[name].stop - made[name].start if name in made else 0
        if width:
            out += _through(part, [sources[k] for k in places[name]], width)
    return out


def _made(transformer: Any, sources: Sources, width: int | None) -> Sources:
    """The same for a transformer that holds no others."""
    if not hasattr(transformer, "transform"):
        raise TypeError(
            f"{type(transformer).__name__} is no transformer; give original_columns "
            "the steps in front of the last one, pipeline[:-1]."
        )
    if not hasattr(transformer, "get_feature_names_out"):
        return _unnamed(transformer, sources, width)
    asked = copy.copy(transformer)
    # Only names that it has seen are allowed where it has seen names.
    vars(asked).pop("feature_names_in_", None)
    if hasattr(asked, "feature_name_combiner"):  # a user's own may drop the name
        asked.feature_name_combiner = "concat"
    tokens = [f"{_OPEN}{k}{_CLOSE}" for k in range(len(sources))]
    names = asked.get_feature_names_out(np.array(tokens, dtype=object))
    found = [{int(k) for k in _TOKEN.findall(str(name))} for name in names]
    if not any(found):  # names of its own: each column may come from all
        return [Source.joined(sources)] * len(names)
    made = [Source.joined([sources[k] for k in sorted(each)]) for each in found]
    parts = getattr(transformer, "parts_", None)
    if parts is None or len(parts) != len(made):
        return made
    return [
        Source(each.columns, str(part)) for each, part in zip(made, parts, strict=True)
    ]


def _unnamed(transformer: Any, sources: Sources, width: int | None) -> Sources:
    if width is not None and len(sources) == 1:
        return sources * width
    if width == len(sources):
        return sources
    raise ValueError(
        f"{type(transformer).__name__} does not say what its columns come from: give "
        "it get_feature_names_out (a FunctionTransformer takes "
        "feature_names_out='one-to-one')."
    )


def _labels(sources: Sources, names: list[str]) -> Array:
    """A label for each source; different sources have different ones."""
    labels: dict[Source, str] = {}
    taken = {*names}
    for each in sources:
        if each in labels:
            continue
        label = _joined([names[k] for k in sorted(each.columns)])
        label = f"{label}: {each.part}" if each.part else label
        own = len(each.columns) == 1 and not each.part
        while not own and label in taken:
            label = f"({label})"
        labels[each] = label
        taken.add(label)
    return np.array([labels[each] for each in sources], dtype=str)


def _joined(names: list[str]) -> str:
    if not names:  # a column of ones
        return "constant"
    if len(names) > _SHOWN:
        names = [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more"]
    return " & ".join(names)
