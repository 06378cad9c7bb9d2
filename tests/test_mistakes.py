"""What beginners do, and the sentence that they get."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

import skbilevel
from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
)
from skbilevel.exceptions import BoundaryWarning, DataWarning
from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles

REGRESSORS = [BilevelRidgeCV, BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV]
CLASSIFIERS = [BilevelRidgeClassifierCV, BilevelLogisticCV]
MODELS = pytest.mark.parametrize("kind", [*REGRESSORS, *CLASSIFIERS])
QUICK = {"hyperpenalty": None, "feature_groups": "shared"}


@MODELS
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("alpha", "alpha_init"),
        ("alphas", "alpha_bounds"),
        ("C", "1 / C"),
        ("Cs", "without a grid"),
        ("penalty", "l2"),
        ("l1_ratio", "l2"),
        ("l1_ratios", "l2"),
        ("gcv_mode", "cv='gcv'"),
        ("store_cv_results", "hyperpenalty_"),
        ("param_grid", "without a grid"),
        ("normalize", "StandardScaler"),
        ("groups", r"fit\(X, y, groups=...\)"),
        ("max_itr", "'max_iter'"),
        ("zzz", "its parameters are fit_intercept, "),
    ],
)
def test_parameters_of_other_packages(kind, name, instead):
    message = rf"{kind.__name__}\(\) got an unexpected keyword .*'{name}': .*{instead}"
    with pytest.raises(TypeError, match=message):
        kind(**{name: 1.0})


@MODELS
def test_a_grid_without_a_name(kind):
    with pytest.raises(TypeError, match=r"If alphas is meant: .*without a grid"):
        kind([0.1, 1.0, 10.0])


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("param_grid", "without a grid"),
        ("param_distributions", "without a grid"),
        ("n_iter", "without a grid"),
        ("alphas", "without a grid"),
        ("feature_groups", "last step"),
        ("hyperpenalty", "last step"),
        ("random_state", "last step"),
        ("error_score", "raises"),
        ("scorin", "'scoring'"),
    ],
)
def test_parameters_of_other_searches(name, instead):
    with pytest.raises(TypeError, match=rf"unexpected keyword .*'{name}': .*{instead}"):
        BilevelSearchCV(Ridge(), **{name: {"alpha": [1.0]}})


def test_a_search_as_a_grid_search_is_called():
    with pytest.raises(TypeError, match=r"If param_grid is meant: .*GridSearchCV"):
        BilevelSearchCV(Ridge(), {"alpha": [0.1, 1.0]})
    with pytest.raises(TypeError, match=r"give an instance, Ridge\(\)"):
        BilevelSearchCV(Ridge).fit(np.eye(30), np.arange(30.0))


def test_the_constructor_stays_as_it_is():
    names = list(inspect.signature(BilevelPoissonCV).parameters)
    assert sorted(names) == sorted(BilevelPoissonCV().get_params())
    assert "self" not in names
    model = BilevelRidgeCV(tol=1e-3)
    for again in (
        clone(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.get_params() == model.get_params()


def test_subclasses_have_parameters_of_their_own():
    class Own(BilevelRidgeCV):
        def __init__(self, alphas=None, *, tol=1e-4):
            super().__init__(tol=tol)
            self.alphas = alphas

    class Open(BilevelRidgeCV):
        def __init__(self, *args, **kwargs):
            super().__init__(tol=kwargs.pop("precision", 1e-4))

    assert Own([1.0]).alphas == Own(alphas=[1.0]).alphas == [1.0]
    assert Open(1, precision=0.5).tol == 0.5
    with pytest.raises(TypeError, match="'alpha': "):
        Own(alpha=1.0)


def make_data(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, X[:, 0] + rng.standard_normal(n)


def messages(fit):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", BoundaryWarning)
        fit()
    for each in found:  # of the user's line
        assert each.filename == __file__
        assert each.category is DataWarning
    return [str(each.message) for each in found]


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("params", [{}, QUICK], ids=str)
def test_constant_y(kind, params):
    X, y = make_data()
    weight = np.r_[np.ones(30), np.zeros(30)]
    constant = np.where(weight > 0, 2.0, 3.0)
    for fit in (
        lambda: kind(**params).fit(X, np.full(60, 2.0)),
        lambda: kind(**params).fit(X, constant, sample_weight=weight),
    ):
        (told,) = messages(fit)
        assert "y is the same in all rows" in told
    assert not messages(lambda: kind(**params).fit(X, np.exp(y / 4.0)))


def test_constant_counts_and_their_exposure():
    X, _ = make_data()
    exposure = np.linspace(0.0, 1.0, 60)
    one, none = np.ones(60), np.zeros(60)
    model = BilevelPoissonCV(**QUICK)
    assert not messages(lambda: model.fit(X, one, offset=exposure))
    assert len(messages(lambda: model.fit(X, none, offset=exposure))) == 1
    search = BilevelSearchCV(Ridge())
    assert len(messages(lambda: search.fit(X, one))) == 1
    # One of two targets may be.
    two = np.c_[one, exposure]
    assert not messages(lambda: BilevelRidgeCV(**QUICK).fit(X, two))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_constant_labels(kind):
    X, _ = make_data()
    with pytest.raises(ValueError, match="y holds one class only"):
        kind().fit(X, np.ones(60))
    with pytest.raises(ValueError, match="y holds one class only"):
        BilevelSearchCV(LogisticRegression()).fit(X, np.ones(60))


@pytest.mark.parametrize("kind", [BilevelRidgeCV, BilevelPoissonCV, *CLASSIFIERS])
def test_few_rows(kind):
    X, y = make_data(21)
    y = (y > 0) + 0.0 if kind in CLASSIFIERS else np.exp(y)
    weight = np.r_[np.ones(19), np.zeros(2)]
    (told,) = messages(lambda: kind().fit(X, y, sample_weight=weight))
    assert "X has 19 rows with a weight, and below 20 all features share" in told
    for quiet in (kind(feature_groups="shared"), kind(hyperpenalty=None, tol=0.1)):
        assert not messages(lambda quiet=quiet: quiet.fit(X[:19], y[:19]))
    assert not messages(lambda: kind().fit(X[:19, :1], y[:19]))
    assert not messages(lambda: kind().fit(X[:20], y[:20]))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_class_with_one_row(kind):
    X, y = make_data()
    y = np.where(y > 0, "yes", "no").astype(object)
    y[3] = "maybe"
    y = y.astype(str)
    (told,) = messages(lambda: kind(**QUICK).fit(X, y))
    assert "y has one row only of class 'maybe'" in told
    # Without a weight it is not there.
    weight = (y != "maybe").astype(float)
    assert not messages(lambda: kind(**QUICK).fit(X, y, sample_weight=weight))
    search = BilevelSearchCV(LogisticRegression())
    assert len(messages(lambda: search.fit(X, y))) == 1


def test_a_measurement_as_labels():
    X, _ = make_data(402)
    rng = np.random.default_rng(0)
    model = BilevelRidgeClassifierCV(**QUICK)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit(X, rng.random(402))
    amounts = rng.permutation(np.arange(402.0) // 3)
    for y in (amounts, rng.permutation(np.arange(402) // 3)):
        (told,) = messages(lambda y=y: model.fit(X, y))
        assert "y has 134 distinct numbers" in told
        assert "BilevelRidgeCV" in told
    # Names, or numbers with enough rows each, are classes.
    assert not messages(lambda: model.fit(X, amounts.astype(str)))
    assert not messages(lambda: model.fit(X, np.arange(402) % 60))
    assert len(messages(lambda: model.fit(X, np.arange(402.0) % 60))) == 1


EVERY = [
    *(getattr(skbilevel, name) for name in ("MetaRidge", "MetaLogistic")),
    *(getattr(skbilevel, name) for name in ("DPRidge", "DPLasso", "DPLogistic")),
    *(getattr(skbilevel, name) for name in ("FractionalICA", "BilevelRidgeCV")),
    skbilevel.FractionalSparseRegressor,
]


@pytest.mark.parametrize("kind", EVERY)
def test_nobody_is_sent_to_a_parameter_that_is_not_there(kind):
    known = inspect.signature(kind).parameters
    for name in ("alphas", "Cs", "param_grid", "n_alphas", "eps"):
        with pytest.raises(TypeError, match=name) as told:
            kind(**{name: 1})
        assert "alpha_init" in known or "alpha_init" not in str(told.value)


def test_names_that_others_have_for_the_number_of_features():
    for name in ("k", "n_nonzero_coefs", "support_size"):
        with pytest.raises(TypeError, match="n_features_to_select"):
            skbilevel.FractionalSparseRegressor(**{name: 3})


ORACLE = {"value": 0.0, "grad": np.zeros(2), "hvp": np.ones(2), "cross": np.ones(3)}


@pytest.mark.parametrize("name", ORACLE)
def test_oracles_of_another_shape(name):
    def some(key):
        made = np.zeros((1, 1)) if key == name else ORACLE[key]
        return lambda *at: made

    level = InnerOracles(**{key: some(key) for key in ORACLE})
    point = level.at(np.zeros(3), np.zeros(2))
    for key in ORACLE:
        said = f"InnerOracles.{name} has shape .1, 1. where"
        expected = pytest.raises(ValueError, match=said) if key == name else None
        with expected or warnings.catch_warnings():
            made = getattr(point, key)
            made(np.ones(2)) if callable(made) else None


def test_bounds_that_are_as_long_as_theta():
    inner, outer = InnerOracles(*[len] * 4), OuterOracles(len, len)
    with pytest.raises(ValueError, match="bounds must be numbers or vectors as long"):
        OracleProblem(inner, outer, np.zeros(2), np.zeros(3), (np.zeros(2), 1.0))


def test_no_smaller_number_of_folds_is_proposed_for_one_row():
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.r_[2, np.tile([0, 1], 20)[:39]]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        BilevelRidgeClassifierCV(cv=2, **QUICK).fit(X, y)
    said = [
        str(each.message) for each in told if "least populated" in str(each.message)
    ]
    assert len(said) == 1
    assert "smaller cv" not in said[0]
