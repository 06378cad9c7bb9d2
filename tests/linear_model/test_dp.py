"""DPRidge, DPLasso and DPLogistic as estimators: units, bounds, refusals, views."""

import copy
import inspect
import math
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import DPLasso, DPLogistic, DPRidge
from skbilevel.privacy import audit
from skbilevel.privacy._descents import STEPS

RNG = np.random.default_rng(0)
N, P = 400, 4
LOW, HIGH = np.array([0.0, 30.0, -2.0, 0.0]), np.array([50.0, 42.0, 2.0, 1.0])
X = LOW + (HIGH - LOW) * RNG.uniform(size=(N, P))
ETA = (X - LOW) / (HIGH - LOW) @ [40.0, 30.0, -60.0, 0.0]
Y = ETA + 5.0 * RNG.standard_normal(N)
LABELS = np.where(ETA + 8.0 * RNG.logistic(size=N) > 0, "yes", "no")
BOUNDS = {"feature_bounds": (LOW, HIGH), "target_bounds": (-100.0, 100.0)}
CLASSES = {"feature_bounds": (LOW, HIGH), "classes": ("no", "yes")}
KINDS = {DPRidge: (Y, BOUNDS), DPLasso: (Y, BOUNDS), DPLogistic: (LABELS, CLASSES)}
SOLVERS = {
    DPRidge: ("moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"),
    DPLasso: ("moments", "dp-cd", "dp-gd", "dp-sgd"),
    DPLogistic: ("preconditioned", "dp-cd", "dp-gd", "dp-sgd"),
}
EVERY = [(kind, solver) for kind, names in SOLVERS.items() for solver in names]


def fitted(kind, rows=slice(None), **options):
    y, bounds = KINDS[kind]
    return kind(**{"random_state": 0, **bounds, **options}).fit(X[rows], y[rows])


# --- scikit-learn's checks ------------------------------------------------------------

# The labels are a parameter; these checks fit others than the default ones without a
# chance to say so.
OTHER_LABELS = "labels are a parameter; reading them would tell which classes occur"
EXPECTED = {
    "check_classifier_data_not_an_array": OTHER_LABELS,
    "check_classifiers_classes": OTHER_LABELS,
    "check_estimators_dtypes": OTHER_LABELS,
    "check_fit2d_1feature": OTHER_LABELS,
    "check_classifiers_one_label": "that one class occurs alone must not be visible",
}


def expected_failures(estimator):
    return EXPECTED if isinstance(estimator, DPLogistic) else {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        # With a seed: the noise of the operating system passes a check now and then.
        DPRidge(random_state=0),
        DPRidge(solver="moments", alpha="tuned", random_state=0),
        DPRidge(solver="dp-cd", random_state=0),
        DPLasso(random_state=0),
        DPLasso(solver="dp-gd", random_state=0),
        DPLogistic(random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_a_constraint(kind):
    names = inspect.signature(kind).parameters
    assert set(kind._parameter_constraints) == set(names)
    positional = [n for n, p in names.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["epsilon", "delta"]


# --- what is fitted -------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solver", ["moments", "preconditioned"])
def test_without_noise_strengths_are_those_of_ridge(solver, intercept):
    alpha = np.array([1.0, 300.0, 20.0, 7.0])
    options = {"fit_intercept": intercept, "solver": solver, "epsilon": math.inf}
    model = fitted(DPRidge, alpha=alpha, **options)
    # Ridge has one strength: columns are scaled for it.
    root = np.sqrt(alpha)
    plain = Ridge(1.0, fit_intercept=intercept).fit(X / root, Y)
    assert model.coef_ == pytest.approx(plain.coef_ / root, rel=1e-6)
    assert model.intercept_ == pytest.approx(plain.intercept_, rel=1e-6)
    assert model.alpha_ == pytest.approx(alpha)
    assert "nothing is guaranteed" in model.privacy_statement_


def test_without_noise_strengths_are_those_of_the_lasso():
    model = fitted(DPLasso, alpha=2.0, epsilon=math.inf)
    plain = Lasso(2.0, tol=1e-10).fit(X, Y)
    assert model.coef_ == pytest.approx(plain.coef_, rel=1e-4)
    assert model.intercept_ == pytest.approx(plain.intercept_, rel=1e-4)
    assert model.alpha_ == pytest.approx(np.full(P, 2.0))


def test_without_noise_strengths_are_those_of_logistic_regression():
    model = fitted(DPLogistic, alpha=0.5, epsilon=math.inf, n_passes=500)
    plain = LogisticRegression(
        C=2.0, tol=1e-10, max_iter=5000, solver="newton-cholesky"
    )
    plain.fit(X, LABELS)
    assert model.coef_ == pytest.approx(plain.coef_, rel=1e-4)
    assert model.intercept_ == pytest.approx(plain.intercept_, rel=1e-4)
    assert model.predict_proba(X) == pytest.approx(plain.predict_proba(X), abs=1e-4)
    logs = np.exp(model.predict_log_proba(X))
    assert logs == pytest.approx(model.predict_proba(X))
    assert model.score(X, LABELS) == plain.score(X, LABELS)


@pytest.mark.parametrize(("kind", "solver"), EVERY)
def test_with_little_noise_it_predicts(kind, solver):
    model = fitted(kind, solver=solver, epsilon=200.0, delta=1e-4)
    assert model.score(X, KINDS[kind][0]) > 0.75
    assert model.epsilon_ == pytest.approx(200.0, rel=1e-3)
    assert model.delta_ == 1e-4
    assert model.privacy_ledger_.epsilon(1e-4) == model.epsilon_


def test_tuned_strengths_cost_nothing_and_help():
    scores, epsilons = {}, set()
    noise = RNG.uniform(-1, 1, (3000, 30))
    wide = np.hstack([noise, RNG.uniform(-1, 1, (3000, 2))])
    y = 0.4 * wide[:, -1] - 0.4 * wide[:, -2]
    for alpha in ("auto", "tuned"):
        models = [
            DPRidge(1.0, 1e-6, solver="moments", alpha=alpha, random_state=seed)
            for seed in range(5)
        ]
        scores[alpha] = np.median(
            [model.fit(wide, y).score(wide, y) for model in models]
        )
        epsilons |= {round(model.epsilon_, 9) for model in models}
    assert epsilons == {1.0}
    assert scores["tuned"] > scores["auto"] + 0.05
    tuned = models[0].alpha_
    assert np.median(tuned[:30]) > 10.0 * tuned[30:].max()


def test_groups_share_a_tuned_strength():
    options = {"alpha": "tuned", "epsilon": 20.0, "scale": False}
    labels = ["a", "b", "a", "b"]
    # The unit of bounds that contain zero is their distance from it.
    half = np.array([50.0, 6.0, 2.0, 1.0])
    for groups, n_distinct in ((labels, 2), ("shared", 1), (None, 4)):
        model = fitted(DPRidge, feature_groups=groups, **options)
        in_units = model.alpha_ / half**2
        assert len(np.unique(in_units.round(6))) == n_distinct


def test_last_iterate_is_an_accountant_of_full_batches():
    options = {"solver": "dp-gd", "alpha": 5.0, "n_passes": 300}
    exact = fitted(DPLogistic, **options)
    last = fitted(DPLogistic, accountant="last-iterate", **options)
    assert last.epsilon_ == pytest.approx(exact.epsilon_)
    one, other = (m.privacy_ledger_.releases[-1] for m in (last, exact))
    assert one.multiplier < other.multiplier
    for wrong in ({"solver": "auto"}, {"alpha": "auto"}, {"alpha": 0.0}):
        with pytest.raises(ValueError, match="last-iterate"):
            fitted(DPLogistic, accountant="last-iterate", **options | wrong)


def test_rows_outside_of_the_bounds_count_as_the_bounds():
    far = X.copy()
    far[0] = [1e9, -1e9, 5.0, 0.5]
    edge = np.clip(far, LOW, HIGH)
    targets = Y.copy()
    targets[0] = 1e12
    models = [
        DPRidge(random_state=0, **BOUNDS).fit(rows, np.clip(targets, -1e13, top))
        for rows, top in ((far, 1e13), (edge, 100.0))
    ]
    assert np.array_equal(models[0].coef_, models[1].coef_)
    assert np.array_equal(models[0].predict(far), models[0].predict(edge))
    assert models[0].predict(far).max() <= 100.0
    assert fitted(DPRidge, row_norm=0.5).coef_.shape == (P,)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_rows_are_dense_rows(kind):
    y = KINDS[kind][0]
    thin = X * (RNG.random(X.shape) < 0.3)
    bounds = KINDS[kind][1] | {"feature_bounds": (0.0, 60.0), "scale": False}
    bounds |= {"random_state": 3, "epsilon": 5.0}
    dense = kind(**bounds).fit(thin, y)
    for form in (sparse.csr_array, sparse.csc_matrix):
        model = kind(**bounds).fit(form(thin), y)
        assert model.coef_ == pytest.approx(dense.coef_, rel=1e-9)
        few = thin[:5]
        if kind is DPLogistic:
            assert model.predict(form(few)).tolist() == dense.predict(few).tolist()
        else:
            assert model.predict(form(few)) == pytest.approx(dense.predict(few))
    scaled = kind(**bounds | {"scale": True}).fit(sparse.csr_array(thin), y)
    assert np.isfinite(scaled.coef_).all()
    with pytest.raises(ValueError, match="contain 0"):
        kind(**bounds | {"feature_bounds": (1.0, 2.0)}).fit(sparse.csr_array(thin), y)


# --- privacy of everything that is there ----------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_look_alike(kind):
    """Data that differ in one wild row give the same shapes, attributes and words."""
    y, bounds = KINDS[kind]
    wild, labels = X.copy(), y.copy()
    wild[7] = [1e30, -1e30, 0.0, 1e-300]
    labels[7] = "no" if kind is DPLogistic else -1e30
    same = np.repeat(X[:1], N, axis=0), np.repeat(y[:1], N)
    seen = []
    for rows, targets in ((X, y), (wild, labels), same):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = kind(random_state=1, **bounds).fit(rows, targets)
        public = {
            name: (type(value), np.shape(value), getattr(value, "dtype", None))
            for name, value in vars(model).items()
        }
        names = [
            (r.name, r.count, r.multiplier) for r in model.privacy_ledger_.releases
        ]
        words = model.privacy_statement_, model.epsilon_, model.delta_, model.mu_
        seen.append((public, names, words, [str(each.message) for each in caught]))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][-1] == []


def test_one_class_tells_nothing():
    model = DPLogistic(random_state=0, **CLASSES).fit(X, np.full(N, "yes"))
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.coef_.shape == (1, P)


def test_an_estimator_passes_an_audit():
    rows = np.zeros((2, 1))
    rows[0] = 1.0
    y = np.array([1.0, 0.0])
    pair = ((rows, y), (rows, np.array([-1.0, 0.0])))
    model = DPRidge(2.0, 1e-6, scale=False, solver="moments", fit_intercept=False)
    result = audit(model, pair, 200, random_state=0)
    assert not result.refuted
    assert result.claimed == pytest.approx(2.0)


def test_noise_is_new_unless_there_is_a_seed():
    models = [fitted(DPRidge, random_state=None) for _ in range(2)]
    assert not np.array_equal(models[0].coef_, models[1].coef_)
    assert "random_state" not in models[0].privacy_statement_
    seeded = [fitted(DPRidge, random_state=3) for _ in range(2)]
    assert np.array_equal(seeded[0].coef_, seeded[1].coef_)
    assert "random_state was given" in seeded[0].privacy_statement_
    drawn = [
        fitted(DPRidge, random_state=np.random.RandomState(4)).coef_ for _ in range(2)
    ]
    assert np.array_equal(*drawn)


def test_statement_and_view_say_what_is_guaranteed():
    model = fitted(DPRidge, epsilon=0.7)
    for words in ("(0.7, 1e-06)", "replaced", "number of rows", "floating", "add"):
        assert words in model.privacy_statement_
    html = model._repr_html_()
    assert "epsilon 0.7, delta 1e-06" in html
    assert "second moments" in html
    assert "epsilon 0.7" in model._repr_mimebundle_()["text/html"]
    assert "skbilevel-privacy" not in DPRidge()._repr_html_()


def test_sampled_rows_are_counted_by_a_renyi_bound():
    rows = RNG.uniform(-1, 1, (1500, 2))
    model = DPRidge(solver="dp-sgd", n_passes=2, random_state=0).fit(rows, rows[:, 0])
    assert "Renyi" in model.privacy_statement_
    assert math.isnan(model.mu_)
    assert model.epsilon_ == pytest.approx(1.0, rel=1e-3)
    assert model.epsilon_ <= 1.0


def test_delta_follows_the_number_of_rows():
    assert fitted(DPRidge).delta_ == 1e-6
    many = np.zeros((2000, 1)), np.zeros(2000)
    assert DPRidge(random_state=0).fit(*many).delta_ == pytest.approx(1 / 2000**2)
    with pytest.raises(ValueError, match="1 / n_samples"):
        fitted(DPRidge, delta=1 / N)


# --- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "solver"), EVERY)
@pytest.mark.parametrize("shape", [(1, 2), (3, 8), (30, 1)])
def test_small_wide_and_constant_data(kind, solver, shape):
    rows = np.zeros(shape)
    y = np.zeros(len(rows), dtype=int)
    for epsilon in (0.01, 100.0, math.inf):
        steps = {} if solver == "moments" else {"n_passes": 3}
        model = kind(epsilon, solver=solver, random_state=0, **steps).fit(rows, y)
        assert np.isfinite(model.coef_).all()
        assert np.isfinite(model.predict(rows)).all()


def test_names_of_columns():
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = DPRidge(random_state=0, **BOUNDS).fit(frame, Y)
    assert model.feature_names_in_.tolist() == list("abcd")
    copied = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copied.predict(frame), model.predict(frame))
    assert copied.privacy_ledger_ == model.privacy_ledger_
    assert clone(copy.deepcopy(model)).get_params().keys() == model.get_params().keys()


def test_folds_are_fits_of_their_own():
    scores = cross_val_score(DPRidge(50.0, 1e-6, random_state=0, **BOUNDS), X, Y, cv=3)
    assert (scores > 0.5).all()


# --- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_break_the_guarantee_is_refused(kind):
    y, bounds = KINDS[kind]
    with pytest.raises(TypeError, match=r"sample_weight.*one row can change"):
        kind(**bounds).fit(X, y, sample_weight=np.ones(N))
    with pytest.raises(TypeError, match=r"does not take groups"):
        kind(**bounds).fit(X, y, groups=np.ones(N))
    with pytest.raises(TypeError, match=r"warm_start.*costs privacy"):
        kind(warm_start=True)
    with pytest.raises(TypeError, match=r"n_passes"):
        kind(tol=1e-3)
    with pytest.raises(AttributeError, match=r"no partial_fit.*costs privacy"):
        kind().partial_fit(X, y)
    assert not hasattr(kind(), "partial_fit")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"delta": 0.0}, "delta"),
        ({"feature_bounds": (1.0, 1.0)}, "low < high"),
        ({"feature_bounds": (0.0, np.nan)}, "finite"),
        ({"feature_bounds": (0.0, math.inf)}, "finite"),
        ({"feature_bounds": (0.0, [1.0, 2.0])}, "feature_bounds must be a pair"),
        ({"feature_bounds": (0.0, 1.0, 2.0)}, "feature_bounds must be a pair"),
        ({"target_bounds": (1.0, 0.0)}, "target_bounds must have low < high"),
        ({"target_bounds": ([0.0, 1.0], 2.0)}, "target_bounds must be a pair"),
        ({"row_norm": 0.0}, "row_norm"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": [1.0, 2.0]}, "alpha has shape"),
        ({"alpha": [1.0, 2.0, np.nan, 1.0]}, "finite and not negative"),
        ({"alpha": "tuned", "solver": "dp-gd"}, "second moments"),
        ({"alpha": "tuned", "feature_groups": [0, 1]}, "feature_groups has shape"),
        ({"solver": "lbfgs"}, "solver"),
        ({"n_passes": 0}, "n_passes"),
        ({"clip": 0.0}, "clip"),
        ({"n_passes": 3, "solver": "moments"}, "n_passes=3 has no effect"),
        ({"clip": 0.5, "alpha": "tuned"}, "clip=0.5 has no effect"),
        ({"feature_groups": "shared"}, "feature_groups= .*alpha='tuned'"),
    ],
)
def test_bad_parameters_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        fitted(DPRidge, **wrong)


@pytest.mark.parametrize(("kind", "solver"), EVERY)
def test_every_parameter(kind, solver):
    """It changes what is published, or is refused by its name."""
    others = {
        **{"epsilon": 3.0, "delta": 1e-5, "row_norm": 0.3, "scale": False},
        **{"alpha": 30.0, "fit_intercept": False, "n_passes": 7, "clip": 0.3},
        **{"random_state": 5, "feature_bounds": (0.0, 20.0), "target_bounds": (0, 9)},
        **{"classes": ("yes", "no"), "feature_groups": "shared"},
        **{"accountant": "last-iterate", "solver": {"dp-gd": "dp-cd"}.get(solver)},
    }
    others["solver"] = others["solver"] or "dp-gd"
    before, refused = fitted(kind, solver=solver), set()
    for name in kind().get_params():
        try:
            after = fitted(kind, **{"solver": solver, name: others[name]})
        except ValueError as error:
            refused |= {name} if f"{name}=" in str(error) else {str(error)}
        else:
            assert not np.array_equal(after.coef_, before.coef_), name
    steps = {"n_passes", "clip"} if solver == "moments" else set()
    assert refused == (steps | {"accountant", "feature_groups"}) & others.keys() & set(
        kind().get_params()
    )


@pytest.mark.parametrize(("kind", "solver"), EVERY)
def test_less_clip_is_less_noise(kind, solver):
    if solver == "moments":
        return
    options = {"solver": solver, "n_passes": 3}
    wide, tight = (fitted(kind, clip=c, **options) for c in (0.5, 0.125))
    sizes = [np.max(m.privacy_ledger_.releases[-1].sensitivity) for m in (wide, tight)]
    assert sizes[1] == pytest.approx(sizes[0] / 4)
    assert tight.epsilon_ == pytest.approx(wide.epsilon_)


def test_the_guide_says_what_steps_are():
    page = Path(__file__).parents[2] / "doc" / "user_guide" / "publishing.md"
    for solver, steps in STEPS.items():
        row = [r for r in page.read_text().splitlines() if f'| `"{solver}"' in r][-1]
        assert re.search(rf"\b{steps}\b", row), row


def test_bad_labels_are_named():
    with pytest.raises(ValueError, match="classes"):
        DPLogistic().fit(X, LABELS)
    for classes in ((0, 0), (0, 1, 2)):
        with pytest.raises(ValueError, match="two different labels"):
            DPLogistic(classes=classes).fit(X, LABELS)
    with pytest.raises(ValueError, match="NaN"):
        DPRidge().fit(np.full((3, 1), np.nan), np.zeros(3))
