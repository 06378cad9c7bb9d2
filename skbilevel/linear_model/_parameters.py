"""The parameters that all estimators have, and what is said of them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from skbilevel._mistakes import ExplainedParameters
from skbilevel._sklearn_compat import HasMethods, Interval, StrOptions
from skbilevel._typing import Array
from skbilevel.model_selection._named_criteria import CRITERIA
from skbilevel.solvers._registry import FOR_SQUARES

_LEFT_OUT = re.compile(r"^( *)([\w*]+(?:, \w+)*) : \.\.\.$", re.MULTILINE)
_SECTION = re.compile(r"(?<=\n)( *)(\w+)\n\1-+\n\1\.\.\.$", re.MULTILINE)


class InheritedEntries:
    """Fills in docstrings of subclasses and of their methods.

    Entries ``name, other : ...`` are filled in, and sections that hold or begin with
    ``...``.

    The text is that of the nearest base class that documents the name. For a method
    the methods that it overrides are asked first, then its class. It is filled in when
    the class is made, so that `help` and documentation show it whole.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Not scikit-learn's, which document methods of the same names.
        bases = [b for b in cls.__mro__[1:] if issubclass(b, InheritedEntries)]
        _fill_in(cls, cls.__dict__.get("__doc__"), bases)
        for name, method in vars(cls).items():
            if inspect.isfunction(method):
                same = (vars(base)[name] for base in bases if name in vars(base))
                _fill_in(method, method.__doc__, (*same, cls, *bases))


def _fill_in(target: Any, own: str | None, sources: Iterable[Any]) -> None:
    """Fill in a docstring from those of sources, the nearest first."""
    if not own or not (_LEFT_OUT.search(own) or _SECTION.search(own)):
        return
    docs = [inspect.cleandoc(each.__doc__ or "") for each in sources]

    def entries(match: re.Match[str]) -> str:
        """The entries of the names of one line, indented as it is."""
        indent, names = match.groups()
        found = (_entry(name, docs) for name in names.split(", "))
        return textwrap.indent("\n".join(found), indent)

    def section(match: re.Match[str]) -> str:
        indent, title = match.groups()
        return textwrap.indent(_section(title, docs), indent)

    target.__doc__ = _SECTION.sub(section, _LEFT_OUT.sub(entries, own))


def _entry(name: str, docs: list[str]) -> str:
    """The first of the entries of a name: its line, and what is indented below."""
    return _first(rf"^{re.escape(name)} : (?!\.\.\.$).*(?:\n+ .*)*", docs, name)


def _section(title: str, docs: list[str]) -> str:
    """The first of the sections of a title, with it."""
    body = r"(?!\.\.\.$).*(?:\n+(?!.*\n---).+)*"
    return _first(rf"^{title}\n-+\n{body}", docs, title)


def _first(pattern: str, docs: list[str], name: str) -> str:
    for doc in docs:
        found = re.search(pattern, doc, re.MULTILINE)
        if found:
            return found.group()
    raise LookupError(f"No base class documents {name}, which is left to them.")


class Parameters(InheritedEntries, ExplainedParameters, BaseEstimator):
    """Those of ridge regression, and what a fit publishes.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether an unpenalized intercept is fitted.
    feature_groups : None, "shared", array-like or callable, default=None
        None tunes one strength per feature, "shared" one for all, an array of shape
        (n_features,) one per distinct label; a callable makes the labels from the names
        of the columns, or, in a BilevelSearchCV, `skbilevel.original_columns` from the
        transformers. Labels of rows are ``groups``, which goes to the splitter.
    feature_metadata : array-like, callable or None, default=None
        What is known about the features, Z of shape (n_features, q):
        ``log(1/alpha) = Z beta`` plus guarded free deviations. A callable
        ``f(X, y, sample_weight)`` that returns Z is evaluated on the training rows
        of every fold, so that nothing leaks.
    unpenalized : None, str, int or array-like, default=None
        Columns whose strength is 0: a boolean mask, indices or column names.
    hyperpenalty : "auto", None or tuple, default="auto"
        "auto" is the guard: candidates from several criteria are scored by nested
        cross-validation and averaged. None tunes the criterion of ``cv`` as it is;
        ``("smooth", value)`` adds ``value`` times the mean squared deviation of the
        log strengths from their mean, ``("sparse", value)`` a price on ``1/alpha``.
    cv : None, int, "loo", "gcv", "reml", splitter or iterable, default=None
        Under "auto" it gives the nested outer folds: None is shuffled 5-fold, twice
        below 1000 rows; another splitter is used once, and again with another seed
        if it takes one; "loo" and "gcv" choose the criterion of the shared strength
        while the nested folds stay. Otherwise it is the criterion itself; one split
        is a hold-out. "loo" leaves out a weighted row as a whole. "reml" is
        the restricted marginal likelihood, for ``hyperpenalty=None`` or a tuple.
    solver : str or solver value, default="auto"
        "auto" chooses by the rule of the user guide; "exact" forces factorizations,
        "amigo" warm-started conjugate gradients. A value is used as it is.
        The guard has a rule of its own and takes "auto" only.
        Algorithms of the literature ("saba", "hoag", ...; see :doc:`/solvers`)
        minimize the validation loss itself and need ``hyperpenalty=None``.
        "fcd" minimizes ``cv="gcv"`` exactly over one strength at a time.
    scoring : str, callable or None, default=None
        Reporting only: `score` and ``best_score_`` use it. What is optimized is
        always the squared error.
    alpha_init : float, array-like of shape (n_features,) or None, default=None
        Start of the search in units of ``alpha_``; None searches the best shared
        strength.
    alpha_bounds : tuple of two floats or None, default=None
        Box of the strengths in these units; None is wide and scale-free.
    tol : float, default=1e-4
        Tolerance of the outer problem where ``hyperpenalty`` is not "auto"; the guard
        takes a fixed number of steps.
    max_iter : int, default=100
        Largest number of outer iterations there.
    n_jobs : int or None, default=None
        Threads over the training sets of the guard, where they are worked on one by
        one (more columns than rows, or a loss that is not quadratic), and over the
        folds where ``hyperpenalty`` is not "auto" and they are not solved as one
        stack. None is one, or what ``joblib.parallel_config`` says.
    random_state : int, RandomState or None, default=None
        Seeds folds and half-samples. None is a fixed seed: fits are deterministic.
    verbose : int, default=0
        Positive values print a line for every step: outer iterations, or what the guard
        has done.

    Attributes
    ----------
    group_alpha_ : ndarray of shape (n_groups,)
        Strengths by label; only with ``feature_groups``.
    group_labels_ : ndarray of shape (n_groups,)
        Their labels; only with ``feature_groups``. Labels that only unpenalized columns
        have are left out; "shared" is the label 0.
    n_iter_ : int
        Outer steps.
    history_ : dict of ndarray
        Course of the search, ready to plot: ``value``, ``grad_norm``, ``tol`` and
        ``seconds`` since its start after every outer step. Under "auto" ``score`` and
        ``weight`` of every candidate, and the ``seconds`` after which it was scored.
    hyperpenalty_ : dict of ndarray
        What was chosen: family, value, nested score, standard error, weight and
        strengths of every candidate.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has string column names.

    Notes
    -----
    Put a scaler in front: one strength for all features, the start of every search,
    means the same only for columns of one scale. Where the scales of the columns
    differ by more than a factor of 100 (a million where no more than an eighth of the
    entries is not zero), the start counts them as if they had been
    scaled. Below 20 rows the shared strength is used alone.

    References
    ----------
    M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic
    bilevel optimization", ICLR 2022 (warm-started inner and adjoint solves).

    D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992 (the
    evidence, one of the criteria that candidates come from).
    """

    coef_: Array
    alpha_: Array
    group_alpha_: Array
    group_labels_: Array
    best_score_: float
    n_iter_: int
    # Lists of dict where targets have strengths of their own.
    history_: Any
    hyperpenalty_: Any
    n_features_in_: int
    feature_names_in_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "feature_groups": [StrOptions({"shared"}), "array-like", callable, None],
        "feature_metadata": ["array-like", callable, None],
        "unpenalized": [
            "array-like",
            str,
            Interval(Integral, 0, None, closed="left"),
            None,
        ],
        "hyperpenalty": [StrOptions({"auto"}), tuple, None],
        "cv": ["cv_object", StrOptions(set(CRITERIA))],
        "solver": [
            StrOptions(FOR_SQUARES),
            HasMethods(["solve"]),
            HasMethods(["solve_oracles"]),
        ],
        "scoring": [str, callable, None],
        "alpha_init": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "alpha_bounds": [tuple, list, None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
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
        tol: float = 1e-4,
        max_iter: int = 100,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._keep(locals())
