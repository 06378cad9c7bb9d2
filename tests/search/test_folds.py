"""Features of the folds: made from training rows, and what is tuned on them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)
from skbilevel.model_selection._criterion import OuterVector
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._glm_source import GLMSource
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._row_views import RowViews, View
from skbilevel.problems import FeatureStrengths, LogisticLoss
from skbilevel.solvers import INNER, LBFGSB, NEWTON, Implicit, Nested
from skbilevel.solvers._nested import NestedRun

N, P = 60, 5


class Recorder(TransformerMixin, BaseEstimator):
    """Remembers which rows it was fitted on: the first column numbers them."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y=None):
        Recorder.seen.append(sorted(X[:, 0].astype(int)))
        self.scale_ = np.abs(X).max(axis=0)
        return self

    def transform(self, X):
        return X / self.scale_


def numbered(n=N, p=P, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    X[:, 0] = np.arange(n)
    y = X[:, 1] - 0.5 * X[:, 2] + 0.5 * rng.standard_normal(n)
    return X, y


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_transformers_see_the_training_rows_of_their_fold_alone(hyperpenalty):
    X, y = numbered()
    cv = KFold(4, shuffle=True, random_state=1)
    Recorder.seen.clear()
    last = BilevelRidgeCV(hyperpenalty=hyperpenalty)
    BilevelSearchCV(make_pipeline(Recorder(), last), cv=cv).fit(X, y)
    wanted = [sorted(train) for train, _ in cv.split(X)]
    everything, *folds = Recorder.seen
    assert everything == list(range(N))
    assert all(fold in folds for fold in wanted)
    assert all(len(fold) == 3 * N // 4 for fold in folds)


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_transformers_are_fitted_once_for_all_targets(hyperpenalty):
    X, y = numbered()
    Recorder.seen.clear()
    last = BilevelRidgeCV(hyperpenalty=hyperpenalty, alpha_per_target=True)
    search = BilevelSearchCV(make_pipeline(Recorder(), last), cv=KFold(4))
    search.fit(X, np.column_stack([y, X[:, 3] - y]))
    assert len(Recorder.seen) == 1 + 4


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_held_out_rows_leave_no_trace(hyperpenalty):
    """Transformers of a fold do not change when its validation rows do."""
    X, y = numbered()
    train, valid = np.arange(40), np.arange(40, N)
    pipeline = make_pipeline(
        StandardScaler(), PCA(3), BilevelRidgeCV(hyperpenalty=hyperpenalty)
    )
    models = []

    def scorer(model, X, y):
        models.append(model)
        return 0.0

    for factor in (1.0, 100.0):
        moved = X.copy()
        moved[valid] *= factor
        search = BilevelSearchCV(pipeline, cv=[(train, valid)], scoring=scorer)
        search.fit(moved, y)
    first, second = models
    assert_allclose(first[0].mean_, second[0].mean_)
    assert_allclose(first[1].components_, second[1].components_)


@pytest.mark.parametrize("last", [BilevelRidgeCV(), BilevelLogisticCV()])
def test_transformers_that_learn_nothing_change_little(last):
    X, y = numbered()
    y = y > 0 if isinstance(last, BilevelLogisticCV) else y
    alone = last.fit(X, y)
    search = BilevelSearchCV(
        make_pipeline(ColumnTransformer([("all", "passthrough", slice(0, P))]), last)
    ).fit(X, y)
    # A search has more candidates, multiples of the shared strength, which can have a
    # weight; all others are the same.
    found = search.best_estimator_[-1]
    same = found.hyperpenalty_["family"] != "stronger"
    assert not same.all()
    score, expected = found.hyperpenalty_["score"], alone.hyperpenalty_["score"]
    rtol = 1e-5 if isinstance(last, BilevelLogisticCV) else 1e-9
    assert_allclose(score[same], expected, rtol=rtol)
    assert_allclose(found.coef_, alone.coef_, atol=0.02 * abs(alone.coef_).max())
    (alpha,) = search.best_params_.values()
    assert_allclose(alpha, found.alpha_, rtol=1e-7)


def views_of_folds(make_rows, sparse_X=False, free=()):
    """Rows with columns that differ from fold to fold, as a transformer makes them."""
    rows = make_rows(N, P, weighted=True, sparse_X=sparse_X, free=free)
    fold = np.arange(N) % 3
    pairs = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    rng = np.random.default_rng(5)
    turns = {valid.tobytes(): rng.uniform(0.5, 2.0, P) for _, valid in pairs}

    def make(train, valid):
        scale = turns[valid.tobytes()]
        X = rows.X * scale[None]
        return View(replace(rows, X=sparse.csr_array(X) if sparse_X else X))

    return RowViews(rows, pairs, make), pairs


def problem_of(kind, make_rows):
    free = (1,) if kind.endswith("free") else ()
    views, pairs = views_of_folds(make_rows, kind.startswith("sparse"), free)
    rows = views.full
    p = rows.n_penalized
    if "logistic" in kind:
        rows = replace(rows, y=(rows.y > 1.0).astype(float))
        views = RowViews(
            rows,
            pairs,
            lambda a, b, old=views.make: View(replace(old(a, b).rows, y=rows.y)),
        )
        losses = (LogisticLoss(), LogisticLoss())
        inner = NEWTON["newton-cholesky"]
        source = GLMSource.of(views, losses, None, pairs, inner, False)
    elif "moments" in kind:
        source, inner = MomentFolds.of(views, pairs, False), INNER["cholesky"]
    else:
        inner = INNER["dual" if "dual" in kind else "cg"]
        source = RowSource.of(views, pairs, "folds", False, inner, False)
    par = FeatureStrengths(p, 0.1)
    outer = OuterVector(par, (np.full(p, -np.inf), np.full(p, np.inf)))
    solver = Nested(inner, Implicit(), LBFGSB())
    return source, NestedRun(solver, source.problem(outer).stacked(), map), par, pairs


KINDS = ["moments", "moments free", "cg", "sparse cg free", "dual", "logistic free"]


@pytest.mark.parametrize("kind", KINDS)
def test_hypergradient_agrees_with_central_differences(kind, make_rows):
    _, run, par, _ = problem_of(kind, make_rows)
    theta = par.init(np.linspace(0.02, 0.3, par.n_features))
    grad = run(theta, 1e-13)[1]
    eps = 1e-5 * np.maximum(abs(theta), 1e-3)
    for j, step in enumerate(np.diag(eps)):
        up, down = (run(theta + s, 1e-13)[0] for s in (step, -step))
        assert grad[j] == pytest.approx((up - down) / (2 * eps[j]), rel=2e-4, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS[:5])
def test_coefficients_of_folds_are_ridge_on_their_own_columns(
    kind, make_rows, explicit_ridge
):
    source, _, _, pairs = problem_of(kind, make_rows)
    v = np.linspace(0.02, 0.3, source.rows.n_penalized)
    found = source.fold_coefficients(v)
    weight = source.rows.weight
    views = views_of_folds(make_rows, kind.startswith("sparse"), source.rows.free)[0]
    for k, (train, _) in enumerate(pairs):
        rows = views.fold(k).rows
        if kind.startswith("sparse"):
            rows = replace(rows, X=rows.X.toarray())
        # Units of the mean loss: a fold of fewer rows has a weaker strength.
        own = v * weight.sum() / weight[train].sum()
        assert_allclose(
            found[k], explicit_ridge(rows, train, own), rtol=2e-5, atol=1e-6
        )


def brute_force(pipeline, X, y, cv, alphas):
    """Pooled squared error of held-out rows, one fit for each fold and strength."""
    out = []
    for alpha in alphas:
        total = 0.0
        for train, valid in cv.split(X):
            model = pipeline.set_params(ridge__alpha=alpha * len(train) / len(X))
            total += (
                (model.fit(X[train], y[train]).predict(X[valid]) - y[valid]) ** 2
            ).sum()
        out.append(total)
    return np.array(out)


def test_the_strength_is_that_of_brute_force():
    X, y = numbered()
    cv = KFold(5)
    pipeline = make_pipeline(StandardScaler(), PCA(4), Ridge())
    search = BilevelSearchCV(pipeline, cv=cv).fit(X, y)
    found = search.best_params_["ridge__alpha"]
    around = found * np.array([0.9, 1.0, 1.1])
    loss = brute_force(pipeline, X, y, cv, around)
    assert loss[1] < loss[0]
    assert loss[1] < loss[2]
    wide = np.logspace(-3, 4, 15)
    assert loss[1] <= brute_force(pipeline, X, y, cv, wide).min()


def test_scores_of_the_folds_are_those_of_pipelines():
    X, y = numbered()
    cv = KFold(5)
    pipeline = make_pipeline(StandardScaler(), PCA(4), Ridge())
    search = BilevelSearchCV(pipeline, cv=cv).fit(X, y)
    # Every fold of KFold(5) trains on 4/5 of the rows, at a strength moved to it.
    moved = 0.8 * search.best_params_["ridge__alpha"]
    wanted = cross_val_score(pipeline.set_params(ridge__alpha=moved), X, y, cv=cv)
    table, best = search.cv_results_, search.best_index_
    found = [table[f"split{k}_test_score"][best] for k in range(5)]
    assert_allclose(found, wanted, rtol=1e-9)
    assert search.best_score_ == pytest.approx(wanted.mean())
    refitted = pipeline.set_params(**search.best_params_).fit(X, y)
    assert_allclose(search.predict(X), refitted.predict(X))


def frame(n=200, seed=0):
    """Categories of which some folds have seen no row."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.standard_normal(n), "c": rng.choice(list("uvw"), n)})
    X.loc[0, "c"] = "rare"
    y = X["a"] + (X["c"] == "u") + 0.3 * rng.standard_normal(n)
    encode = OneHotEncoder(handle_unknown="ignore")
    pre = ColumnTransformer([("a", StandardScaler(), ["a"]), ("c", encode, ["c"])])
    return X, y, pre


@pytest.mark.parametrize(
    "last",
    [
        BilevelRidgeCV(),
        BilevelRidgeCV(hyperpenalty=None),
        BilevelRidgeCV(feature_groups=["a", "c", "c", "c", "c"]),
        BilevelRidgeCV(feature_groups=["a", "c", "c", "c", "c"], hyperpenalty=None),
        BilevelRidgeCV(feature_groups="shared"),
        BilevelRidgeCV(unpenalized=[0]),
        BilevelRidgeCV(feature_groups="shared", hyperpenalty=None),
        Ridge(),
    ],
    ids=str,
)
# One strength does not help on these rows.
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_columns_are_matched_by_name(last):
    X, y, pre = frame()
    search = BilevelSearchCV(make_pipeline(pre, last), cv=KFold(5)).fit(X, y)
    coef = search.best_estimator_[-1].coef_
    assert coef.shape == (5,)
    names = search.best_estimator_[:-1].get_feature_names_out()
    assert names[np.argmax(coef[1:]) + 1] == "c__c_u"
    assert search.best_score_ > 0.8
    unpenalized = getattr(last, "unpenalized", None)
    if unpenalized:
        assert search.best_estimator_[-1].alpha_[0] == 0.0


def r2(model, X, y):
    """A scorer that is not scikit-learn's own: it gets the pipelines of the folds."""
    return model.score(X, y)


def scores_of_folds(search, X, y, scoring):
    table = search.set_params(scoring=scoring).fit(X, y).cv_results_
    return [table[f"split{k}_test_score"][0] for k in range(search.n_splits_)]


@pytest.mark.parametrize("output", ["default", "pandas"])
@pytest.mark.parametrize(
    "last",
    [
        BilevelRidgeCV(),
        BilevelRidgeCV(hyperpenalty=None),
        BilevelRidgeCV(feature_groups=["c", "c", "c", "c", "a"]),
        Ridge(),
    ],
    ids=str,
)
def test_pipelines_of_folds_have_their_own_columns(last, output):
    """A column that a fold lacks may stand in front of others."""
    X, y, _ = frame()
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    pre = ColumnTransformer([("c", encode, ["c"]), ("a", StandardScaler(), ["a"])])
    pre.set_output(transform=output)
    search = BilevelSearchCV(make_pipeline(pre, last), cv=KFold(5))
    wanted = scores_of_folds(search, X, y, "r2")
    assert_allclose(scores_of_folds(search, X, y, r2), wanted, rtol=1e-9)


def test_names_of_features_reach_the_models_of_folds():
    X, y = pd.DataFrame(numbered()[0]).add_prefix("x"), numbered()[1]
    search = BilevelSearchCV(BilevelRidgeCV())
    assert_allclose(
        scores_of_folds(search, X, y, r2), scores_of_folds(search, X, y, "r2")
    )


@pytest.mark.parametrize("last", [BilevelRidgeCV(), Ridge()], ids=str)
def test_folds_may_hold_out_the_same_rows(last):
    X, y = numbered()
    valid = np.arange(40, N)
    cv = [(np.arange(12), valid), (np.arange(40), valid)]
    search = BilevelSearchCV(make_pipeline(PCA(2), last), cv=cv)
    wanted = scores_of_folds(search, X, y, "r2")
    assert wanted[0] != wanted[1]
    assert_allclose(scores_of_folds(search, X, y, r2), wanted, rtol=1e-9)


def wide(n=60, p=40):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, p))
    return X, X[:, 0] + X[:, 1] + 0.5 * rng.standard_normal(n)


def test_columns_that_only_a_fold_has_are_refused_or_not_needed():
    X, y = wide()

    def pipeline(last):
        return make_pipeline(StandardScaler(), SelectKBest(f_regression, k=10), last)

    with pytest.raises(ValueError, match="columns that the full data do not have"):
        BilevelSearchCV(pipeline(BilevelRidgeCV(hyperpenalty=None))).fit(X, y)
    for last in (BilevelRidgeCV(), BilevelRidgeCV(feature_groups="shared"), Ridge()):
        search = BilevelSearchCV(pipeline(last)).fit(X, y)
        assert search.best_estimator_[-1].coef_.shape == (10,)


@pytest.mark.parametrize(
    "last",
    [BilevelRidgeCV(feature_groups="shared"), BilevelRidgeCV(), BilevelLogisticCV()],
    ids=str,
)
def test_columns_that_were_selected_by_noise_get_little_weight(last):
    """Splits inside a training set cannot tell: it has selected by all its rows."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 1000)), rng.standard_normal(100)
    y = y > 0 if isinstance(last, BilevelLogisticCV) else y
    pipeline = make_pipeline(SelectKBest(f_regression, k=20), last)
    alone = pipeline.fit(X, y)[-1].coef_
    searched = BilevelSearchCV(pipeline).fit(X, y).best_estimator_[-1].coef_
    assert np.linalg.norm(searched) < 0.5 * np.linalg.norm(alone)


class Nameless(TransformerMixin, BaseEstimator):
    """As many columns as the rows need, without names."""

    def fit(self, X, y=None):
        self.kept_ = np.flatnonzero(np.abs(X).max(axis=0) > 2.2)
        return self

    def transform(self, X):
        return X[:, self.kept_]


def test_numbers_of_columns_may_differ_without_names():
    X, y = wide()
    widths = {Nameless().fit(X[a]).kept_.size for a, _ in KFold(5).split(X)}
    widths.add(Nameless().fit(X).kept_.size)
    assert len(widths) > 1
    for last in (BilevelRidgeCV(), BilevelRidgeCV(feature_groups="shared"), Ridge()):
        search = BilevelSearchCV(make_pipeline(Nameless(), last), cv=KFold(5))
        width = Nameless().fit(X).kept_.size
        assert search.fit(X, y).best_estimator_[-1].coef_.shape == (width,)
    own = make_pipeline(Nameless(), BilevelRidgeCV(hyperpenalty=None))
    with pytest.raises(ValueError, match="without names"):
        BilevelSearchCV(own, cv=KFold(5)).fit(X, y)


def scored_by_pipelines(search, X, y):
    """Whether scores from features that exist are those of pipelines on raw rows."""

    def accuracy(model, X, y):
        return float(np.mean(model.predict(X) == y))

    plain = search.set_params(scoring="accuracy").fit(X, y).cv_results_
    whole = search.set_params(scoring=accuracy).fit(X, y).cv_results_
    names = [name for name in plain if name.startswith("split")]
    return names and all(np.allclose(plain[name], whole[name]) for name in names)


def texts(n, n_words, seed=0):
    rng = np.random.default_rng(seed)
    words = np.array([f"w{k}" for k in range(n_words)])
    share = 1.0 / np.arange(1, n_words + 1)
    docs = [
        " ".join(rng.choice(words, rng.integers(8, 30), p=share / share.sum()))
        for _ in range(n)
    ]
    y = np.array(["yes" if " w2 " in doc else "no" for doc in docs])
    return docs, y


@pytest.mark.parametrize(
    "last",
    [
        BilevelLogisticCV(),
        BilevelLogisticCV(feature_groups="shared"),
        BilevelRidgeClassifierCV(),
    ],
    ids=str,
)
@pytest.mark.parametrize("large", [False, True])
def test_every_fold_has_its_own_vocabulary(last, large, capsys):
    docs, y = texts(510, 900) if large else texts(160, 300)
    pipeline = make_pipeline(TfidfVectorizer(), last)
    search = BilevelSearchCV(pipeline, cv=KFold(2 if large else 4), verbose=1)
    search.fit(docs, y)
    # What is large begins with one fold.
    assert capsys.readouterr().out.count("by the first fold") == large
    vocabulary = search.best_estimator_[0].get_feature_names_out()
    assert search.best_estimator_[-1].coef_.shape == (1, len(vocabulary))
    assert search.score(docs, y) > 0.8
    word = vocabulary[np.argmax(search.best_estimator_[-1].coef_[0])]
    assert word == "w2"
    assert scored_by_pipelines(search, docs, y)


@pytest.mark.parametrize("p", [8, 90], ids=["moments", "kernels"])
@pytest.mark.parametrize("last", [BilevelRidgeCV(), BilevelPoissonCV()], ids=str)
def test_more_columns_than_rows(last, p):
    X, y = wide(50, p)
    y = np.exp(0.3 * y).round() if isinstance(last, BilevelPoissonCV) else y
    search = BilevelSearchCV(make_pipeline(StandardScaler(), last)).fit(X, y)
    # Folds are drawn twice where closed forms make that cheap.
    assert search.n_splits_ == (10 if isinstance(last, BilevelRidgeCV) else 5)
    assert search.score(X, y) > 0.2


class Shifted(StandardScaler):
    """Columns of folds are so far from zero that they make no common table."""

    def transform(self, X):
        return super().transform(X) + 1e6 * (self.n_samples_seen_ < 80)


def test_batched_and_single_training_sets_agree():
    X, y = wide(80, 10)
    together, apart = (
        BilevelSearchCV(make_pipeline(scaler, BilevelRidgeCV())).fit(X, y)
        for scaler in (StandardScaler(), Shifted())
    )
    found, expected = (each.best_estimator_[-1] for each in (together, apart))
    assert_allclose(found.alpha_, expected.alpha_, rtol=1e-6)
    assert_allclose(together.best_score_, apart.best_score_, rtol=1e-6)


def test_rows_outside_of_a_split_are_never_transformed():
    """The last categories of a series are unknown to the first folds."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"year": np.repeat(list("abcdef"), 20), "x": rng.normal(size=120)})
    y = X["x"] + 0.1 * rng.standard_normal(120)
    seen = []

    class Watch(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            seen.append(len(X))
            return self  # nothing learned, and no attribute that says "fitted"

        def transform(self, X):
            seen.append(len(X))
            return X[["x"]].to_numpy()

    cv = TimeSeriesSplit(3)
    BilevelSearchCV(Pipeline([("w", Watch()), ("r", Ridge())]), cv=cv).fit(X, y)
    sizes = [size for a, b in cv.split(X) for size in (len(a), len(a), len(b))]
    assert_array_equal(seen, [120, 120, *sizes])


class Shown(TransformerMixin, BaseEstimator):
    """Keeps what further rows are when they reach it."""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y=None, X_val=None):
        Shown.seen.append(float(X_val.mean()))
        return self

    def transform(self, X):
        return X


def test_further_rows_are_transformed_on_their_way():
    X, y = numbered()
    steps = [("scale", StandardScaler()), ("show", Shown()), ("last", Ridge())]
    pipeline = Pipeline(steps, transform_input=["X_val"])
    Shown.seen.clear()
    with config_context(enable_metadata_routing=True):
        pipeline[1].set_fit_request(X_val=True)
        BilevelSearchCV(pipeline, cv=KFold(3)).fit(X, y, X_val=X)
    # As the first step makes them: as they are, they have a mean of some 6.
    assert len(Shown.seen) == 4
    assert max(map(abs, Shown.seen)) < 0.1
