"""What stands here in place of parameters that other packages have.

An estimator that is given one of them raises Python's own TypeError, with a sentence
more.
"""

from __future__ import annotations

from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, ClassVar, Self

_SEARCHED = (
    "strengths are searched along their gradient, without a grid; leave it out, or "
    "give alpha_init to start from a strength and alpha_bounds to limit them"
)
_WITHOUT_START = (
    "strengths are searched along their gradient, without a grid; leave it out"
)
_IN_C = f"{_SEARCHED} (alpha = 1 / C)"
_L2 = (
    "the penalty is l2 with one strength per feature, and a feature of infinite "
    "strength is removed; leave it out, or use BilevelElasticNetCV"
)
_L1 = (
    "BilevelLassoCV has an l1 penalty, BilevelElasticNetCV an l2 part beside it, whose "
    "share is l1_ratio"
)
_NOTHING = "there is nothing here that it could set; leave it out"
_RESULTS = "hyperpenalty_ holds the candidates, history_ the course of the search"
# Of estimators, by the name that scikit-learn or another package has for it.
OF_MODELS = {
    **dict.fromkeys(("alpha", "alphas", "n_alphas", "eps", "lambda_path"), _SEARCHED),
    **dict.fromkeys(("C", "Cs"), _IN_C),
    **dict.fromkeys(("penalty", "l1_ratio", "l1_ratios"), _L2),
    **dict.fromkeys(("store_cv_results", "store_cv_values"), _RESULTS),
    **dict.fromkeys(
        (
            "copy_X",
            "dual",
            "intercept_scaling",
            "multi_class",
            "precompute",
            "refit",
            "selection",
            "use_legacy_attributes",
            "warm_start",
        ),
        _NOTHING,
    ),
    "param_grid": _SEARCHED,
    "gcv_mode": "cv='gcv' and cv='loo' choose a criterion in closed form",
    "normalize": "put a StandardScaler in front",
    "positive": "coefficients of one sign are not offered; use Ridge(positive=True)",
    "groups": (
        "labels of rows go to fit(X, y, groups=...), those of features to "
        "feature_groups"
    ),
    "sample_weight": "weights go to fit(X, y, sample_weight=...)",
    "exposure": "fit takes log(exposure) as offset, or exposure as sample_weight",
    "offset": "it goes to fit(X, y, offset=...)",
    "link": "the link is the logarithm; leave it out",
    "family": "every family has an estimator of its own, BilevelPoissonCV for instance",
    "classes": "they are read from y; class_weight takes their weights",
}
# Of estimators with an l1 penalty.
OF_NETS = {
    **OF_MODELS,
    **dict.fromkeys(("penalty", "l1_ratio", "l1_ratios"), _L1),
    "solver": "there is one solver, on the active columns; leave it out",
    "n_jobs": _NOTHING,
    "gcv_mode": "there is no criterion in closed form; give cv a number of folds",
    "positive": "coefficients of one sign are not offered; use Lasso(positive=True)",
}
_NO_GRID = (
    "the strengths of the last step are searched along their gradient, without a grid; "
    "leave it out, and use GridSearchCV for other parameters"
)
_LAST_STEP = "it belongs to the last step of the estimator; set it there"
# Of the search.
OF_SEARCH = {
    **dict.fromkeys(
        (
            "param_grid",
            "param_distributions",
            "param_space",
            "search_spaces",
            "n_iter",
            "n_trials",
            *("alpha", "alphas", "C", "Cs"),
        ),
        _NO_GRID,
    ),
    **dict.fromkeys(
        (
            *("feature_groups", "feature_metadata", "unpenalized", "hyperpenalty"),
            *("alpha_init", "alpha_bounds", "max_iter", "tol", "solver"),
            *("random_state", "class_weight"),
        ),
        _LAST_STEP,
    ),
    "return_train_score": "training scores are not computed; leave it out",
    "error_score": "a fit that fails raises; leave it out",
    "pre_dispatch": _NOTHING,
    "groups": "labels of rows go to fit(X, y, groups=...)",
}


class ExplainedParameters:
    """Raises TypeError with a sentence for parameters that a class does not have.

    It stands behind the class that has ``__init__``, whose signature stays that of the
    class; `_keep` is all that ``__init__`` does.
    """

    _elsewhere: ClassVar[dict[str, str]] = OF_MODELS
    # What is meant where a value has no name.
    _unnamed: ClassVar[str] = "alphas"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Look at the names before ``__init__`` gets them."""
        if args or kwargs:
            _refuse_unknown(cls, args, kwargs)
        return super().__new__(cls)

    def _keep(self, given: dict[str, Any]) -> None:
        """Store the parameters: ``given`` are the locals of ``__init__``."""
        for name, value in given.items():
            if name != "self":
                setattr(self, name, value)


def _refuse_unknown(
    cls: type[ExplainedParameters], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    known = list(signature(cls).parameters.values())
    kinds = {each.kind for each in known}
    names = [each.name for each in known]
    ordered = sum(each.kind is Parameter.POSITIONAL_OR_KEYWORD for each in known)
    if len(args) > ordered and Parameter.VAR_POSITIONAL not in kinds:
        few = ", ".join(names[:ordered]) or "nothing"
        raise TypeError(
            f"{cls.__name__}() takes {few} without a name. If {cls._unnamed} is meant: "
            f"{cls._elsewhere[cls._unnamed]}."
        )
    for name in kwargs:
        if name not in names and Parameter.VAR_KEYWORD not in kinds:
            advice = cls._elsewhere.get(name) or _nearest(name, names)
            # Nobody is sent to a parameter that the class does not have.
            if "alpha_init" in advice and "alpha_init" not in names:
                advice = _WITHOUT_START
            raise TypeError(
                f"{cls.__name__}() got an unexpected keyword argument {name!r}: "
                f"{advice}."
            )


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"{near[0]!r} is the nearest of its parameters"
    return f"its parameters are {', '.join(known)}"
