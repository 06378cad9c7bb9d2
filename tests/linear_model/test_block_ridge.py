"""Ridge regression from one pass over row blocks: the same numbers as in memory."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import KFold, PredefinedSplit

from skbilevel import (
    BilevelElasticNetCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    RowBlocks,
)
from skbilevel.model_selection._named_criteria import OF_MOMENTS

N, P = 900, 10


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P)) * np.exp(rng.standard_normal(P)) + 3.0
    w = rng.standard_normal(P) * (np.arange(P) < 5)
    y = X @ w + 3.0 * rng.standard_normal(N) + 7.0
    return X, y, rng.integers(0, 5, N)


def both(model, X, y, folds, weight=None, block_rows=200):
    """The same fit to the same folds, in memory and in blocks."""
    memory = clone(model).set_params(cv=list(PredefinedSplit(folds).split()))
    memory.fit(X, y, sample_weight=weight)
    blocks = RowBlocks.from_arrays(X, y, sample_weight=weight, block_rows=block_rows)
    return memory, clone(model).set_params(cv=PredefinedSplit(folds)).fit(blocks)


def assert_same(memory, blocks, rtol=1e-10):
    np.testing.assert_allclose(blocks.coef_, memory.coef_, rtol=rtol, atol=rtol)
    near = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(blocks.intercept_, memory.intercept_, **near)
    np.testing.assert_allclose(blocks.alpha_, memory.alpha_, rtol=1e-7)
    np.testing.assert_allclose(blocks.best_score_, memory.best_score_, rtol=1e-9)
    assert blocks.coef_.dtype == memory.coef_.dtype
    assert set(vars(blocks)) == set(vars(memory))


MODELS = {
    "plain": {},
    "no intercept": {"fit_intercept": False},
    "unpenalized": {"unpenalized": [0, 3]},
    "unpenalized alone": {"unpenalized": [0, 3], "fit_intercept": False},
    "groups": {"feature_groups": np.arange(P) // 3},
    "bounds": {"alpha_bounds": (10.0, 100.0)},
    "no guard": {"hyperpenalty": None},
    "smooth": {"hyperpenalty": ("smooth", 0.1), "tol": 1e-7},
    "sparse": {"hyperpenalty": ("sparse", 0.1)},
    "one strength": {"hyperpenalty": None, "feature_groups": "shared"},
}


@pytest.mark.parametrize("name", MODELS)
def test_same_as_in_memory(name, data):
    X, y, folds = data
    assert_same(*both(BilevelRidgeCV(**MODELS[name]), X, y, folds))


@pytest.mark.parametrize("cv", OF_MOMENTS)
@pytest.mark.parametrize("name", ["plain", "unpenalized", "groups", "no intercept"])
def test_criteria_in_closed_form(cv, name, data):
    X, y, _ = data
    model = BilevelRidgeCV(
        **MODELS[name], cv=cv, hyperpenalty=("smooth", 0.1), tol=1e-9
    )
    memory = clone(model).fit(X, y)
    blocks = model.fit(RowBlocks.from_arrays(X, y, block_rows=200))
    # Searches end where the criterion is flat to the last digits.
    np.testing.assert_allclose(blocks.coef_, memory.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(blocks.best_score_, memory.best_score_, rtol=1e-9)


@pytest.mark.parametrize("block_rows", [1, 7, N - 1, N])
def test_whatever_the_blocks_are(block_rows, data):
    X, y, folds = data
    assert_same(*both(BilevelRidgeCV(), X, y, folds, block_rows=block_rows))


def variants(X, y, rng):
    integer = rng.integers(0, 3, N).astype(float)
    yield "integer weights", X, y, integer
    yield "small weights", X, y, 0.5 * rng.random(N)
    yield "float32", X.astype(np.float32), y, None
    yield "uneven columns", X * np.where(np.arange(P) < 3, 1e4, 1.0), y, None
    yield "far columns", X + 1e5, y, None
    sparse = sp.csr_matrix(X * (rng.random((N, P)) < 0.1))
    yield "sparse", sparse, sparse @ np.ones(P) + rng.standard_normal(N), None
    yield "several targets", X, np.c_[y, y**2 / 10, np.ones(N)], None
    yield "collinear", np.c_[X[:, :5], X[:, :5]], y, None
    yield "y far from zero", X, y + 1e6, None


def test_data_of_all_kinds(data):
    X, y, folds = data
    for name, X1, y1, weight in variants(X, y, np.random.default_rng(1)):
        memory, blocks = both(BilevelRidgeCV(), X1, y1, folds, weight)
        # Means of 1e5 have five digits less.
        assert_same(memory, blocks, 1e-7 if "far" in name else 1e-10)


def test_targets_with_strengths_of_their_own(data):
    X, y, folds = data
    Y = np.c_[y, y**2 / 10]
    memory, blocks = both(BilevelRidgeCV(alpha_per_target=True), X, Y, folds)
    assert blocks.alpha_.shape == (2, P)
    assert_same(memory, blocks)


def test_collinear_unpenalized_columns(data):
    X, y, folds = data
    doubled = np.c_[X, 2.0 * X[:, 0] - X[:, 1]]
    model = BilevelRidgeCV(unpenalized=[0, 1, P])
    assert_same(*both(model, doubled, y, folds), rtol=1e-8)


@pytest.mark.parametrize("kind", ["two", "three", "indicators"])
@pytest.mark.parametrize("class_weight", [None, "balanced", "dict"])
def test_classes(kind, class_weight, data):
    X, y, folds = data
    score = y - np.median(y)
    if kind == "two":
        labels = np.where(score > 5, "yes", "no")
    else:
        labels = np.digitize(score, [-5, 5]) * 2
    given = {label: 1.0 + k for k, label in enumerate(np.unique(labels))}
    if kind == "indicators":
        labels = np.c_[score > 0, score > 5].astype(int)
        given = "balanced"
    # The first blocks hold one class only.
    order = np.argsort(score > 5, kind="stable")
    weight = np.random.default_rng(0).random(N)
    model = BilevelRidgeClassifierCV(
        class_weight=given if class_weight == "dict" else class_weight
    )
    made = both(model, X[order], labels[order], folds, weight)
    assert_same(*made)
    assert made[1].classes_.tolist() == made[0].classes_.tolist()
    np.testing.assert_array_equal(made[1].predict(X), made[0].predict(X))


def test_folds_are_hashes_of_places_or_groups(data):
    X, y, _ = data
    fits = []
    for block_rows in (13, 450, N):
        blocks = RowBlocks.from_arrays(X, y, block_rows=block_rows)
        fits.append(BilevelRidgeCV(random_state=3).fit(blocks).coef_)
    np.testing.assert_allclose(fits[1], fits[0], rtol=1e-10)
    np.testing.assert_allclose(fits[2], fits[0], rtol=1e-10)
    other = BilevelRidgeCV(random_state=4).fit(RowBlocks.from_arrays(X, y))
    assert abs(other.coef_ - fits[0]).max() > 1e-6
    # Whole groups are in a fold, so that the order of the rows plays no part.
    groups = np.array([f"g{k}" for k in np.arange(N) % 60])
    order = np.random.default_rng(0).permutation(N)
    first = BilevelRidgeCV().fit(RowBlocks.from_arrays(X, y, groups=groups))
    moved = RowBlocks.from_arrays(X[order], y[order], groups=groups[order])
    np.testing.assert_allclose(BilevelRidgeCV().fit(moved).coef_, first.coef_, 1e-9)


@pytest.mark.parametrize("cv", [2, 3, None, "gcv"])
def test_close_to_shuffled_folds(cv, data):
    X, y, _ = data
    memory = BilevelRidgeCV(cv=cv).fit(X, y)
    blocks = BilevelRidgeCV(cv=cv).fit(RowBlocks.from_arrays(X, y, block_rows=100))
    spread = np.sqrt(np.mean((memory.predict(X) - blocks.predict(X)) ** 2)) / y.std()
    assert 0.0 < spread < 0.05


def test_metadata_of_features(data):
    X, y, _ = data
    Z = (np.arange(P) < 5).astype(float)[:, None]
    model = BilevelRidgeCV(feature_metadata=Z)
    fitted = clone(model).fit(RowBlocks.from_arrays(X, y, block_rows=100))
    assert "metadata" in fitted.hyperpenalty_["family"]
    memory = model.fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), memory.predict(X), atol=0.1 * y.std())


# Errors from all rows are known for no more rows than a sample has: for the same rows
# they are compared with those of a smaller sample.
SAMPLE_ROWS = "skbilevel.linear_model._block_fit._SAMPLE_ROWS"


def test_a_sample_stands_for_all_rows(monkeypatch, data):
    """Errors of means from a part of the rows are close to those from all of them."""
    X, y, folds = data
    many = np.tile(np.arange(N), 4)
    rng = np.random.default_rng(0)
    X, folds = X[many], folds[many]
    y = y[many] + 3.0 * rng.standard_normal(len(many))
    whole = BilevelRidgeCV(cv=PredefinedSplit(folds))
    whole.fit(RowBlocks.from_arrays(X, y, block_rows=500))
    monkeypatch.setattr(SAMPLE_ROWS, 1000)
    for groups in (None, np.arange(len(y)) // 3):
        part = BilevelRidgeCV(cv=PredefinedSplit(folds))
        part.fit(RowBlocks.from_arrays(X, y, groups=groups, block_rows=500))
        exact, about = whole.hyperpenalty_, part.hyperpenalty_
        np.testing.assert_allclose(about["score"], exact["score"], rtol=1e-10)
        error = exact["standard_error"] > 0
        ratio = about["standard_error"][error] / exact["standard_error"][error]
        assert 0.8 < np.median(ratio) < 1.25
        np.testing.assert_allclose(part.best_score_, whole.best_score_, rtol=1e-3)


def test_blocks_give_away_few_rows():
    """A limit of the ranks that changes nothing of the sample."""
    from skbilevel.model_selection._row_hashes import (
        EVERY_RANK,
        Dealer,
        RowSample,
        rank_limit,
    )

    n, size, dealer = 40_000, 1000, Dealer(5, 0, 0)
    limit = rank_limit(size, n, False)
    whole, given = None, 0
    for start in range(0, n, 10_000):
        position = np.arange(start, start + 10_000)
        rank = dealer.ranks(position, None)
        part = RowSample.of(size, rank, {"position": position}, limit)
        given += len(part.rank)
        whole = part if whole is None else whole.plus(part)
    assert given < 1.5 * size
    position = np.arange(n)
    ranks = dealer.ranks(position, None)
    direct = RowSample.of(size, ranks, {"position": position})
    expected = np.sort(np.argsort(ranks)[:size])
    for sample in (whole, direct):
        np.testing.assert_array_equal(sample.ordered().parts["position"], expected)
        assert not sample.complete
    # Folds and ranks are as even as draws.
    folds = np.bincount(dealer.cells(position, None))
    assert abs(folds - n / 5).max() < 5 * np.sqrt(n / 5)
    assert rank_limit(size, None, False) == rank_limit(size, n, True) == EVERY_RANK
    assert rank_limit(size, size, False) == EVERY_RANK


def test_few_large_groups(monkeypatch):
    """Errors of groups that no sample holds, from rows of all of them."""
    rng = np.random.default_rng(0)
    n, n_groups = 20_000, 25
    groups = np.arange(n) % n_groups
    X = rng.standard_normal((n, 4)) + rng.standard_normal((n_groups, 4))[groups]
    y = X[:, 0] + rng.standard_normal(n_groups)[groups] + rng.standard_normal(n)
    found = []
    for size, given in ((n, groups), (5000, groups), (n, None)):
        monkeypatch.setattr(SAMPLE_ROWS, size)
        model = BilevelRidgeCV(cv=PredefinedSplit(groups % 5))
        blocks = RowBlocks.from_arrays(X, y, groups=given, block_rows=3000)
        found.append(model.fit(blocks).hyperpenalty_["standard_error"])
    exact, sampled, alone = (each[found[0] > 0] for each in found)
    assert np.median(exact / alone) > 2.0  # rows of a group are alike
    assert 0.6 < np.median(sampled / exact) < 1.6


def test_memory_is_kept_below_the_budget_by_fewer_folds(monkeypatch, data):
    X, y, _ = data
    cells = 3 * 8 * (2 + P) ** 2
    # With the budget as it is this would take a gigabyte.
    monkeypatch.setattr("skbilevel.linear_model._block_fit._BUDGET", cells)
    fitted = BilevelRidgeCV().fit(RowBlocks.from_arrays(X, y))
    assert np.isfinite(fitted.coef_).all()
    with pytest.raises(ValueError, match="Moments of 5 cells of 12 columns"):
        BilevelRidgeCV(cv=5).fit(RowBlocks.from_arrays(X, y))


def test_moments_of_too_many_columns_are_refused():
    X = np.ones((4, 8200))
    with pytest.raises(ValueError, match="1 GiB that row blocks may take"):
        BilevelRidgeCV().fit(RowBlocks.from_arrays(X, X[:, 0]))


REFUSED = [
    ({"cv": KFold(3)}, "needs all rows at once"),
    ({"cv": "loo"}, "needs all rows at once"),
    ({"cv": PredefinedSplit([-1] * N)}, "a fold for every row"),
    ({"cv": PredefinedSplit([0, 1])}, "folds for 2 rows"),
    ({"scoring": "r2"}, "scoring='r2'"),
    ({"cv": "reml"}, "cv='reml'"),
    ({"hyperpenalty": None, "solver": "saba"}, "solver='saba'"),
    ({"solver": "amigo"}, "solver='amigo'"),
    ({"feature_metadata": lambda X, y, w: X}, "function of rows"),
]


@pytest.mark.parametrize(("params", "sentence"), REFUSED)
def test_what_needs_rows_in_memory_is_refused(params, sentence, data):
    X, y, _ = data
    model = BilevelRidgeCV(**params)
    with pytest.raises(ValueError, match=sentence):
        model.fit(RowBlocks.from_arrays(X, y))
    assert not [name for name in vars(model) if name.endswith("_")]


def test_y_and_weights_are_in_the_blocks(data):
    X, y, _ = data
    blocks = RowBlocks.from_arrays(X, y)
    with pytest.raises(ValueError, match="y was given beside it"):
        BilevelRidgeCV().fit(blocks, y)
    with pytest.raises(ValueError, match="sample_weight was given beside it"):
        BilevelRidgeCV().fit(blocks, sample_weight=y)
    with pytest.raises(ValueError, match="groups was given beside it"):
        BilevelRidgeCV().fit(blocks, groups=y)
    with pytest.raises(ValueError, match="requires y"):
        BilevelRidgeCV().fit(X)
    with pytest.raises(ValueError, match="use a classifier"):
        BilevelRidgeCV().fit(RowBlocks.from_arrays(X, y.astype(str)))
    with pytest.raises(ValueError, match="one class only"):
        BilevelRidgeClassifierCV().fit(RowBlocks.from_arrays(X, np.ones(N)))
    with pytest.raises(ValueError, match="2 rows of positive weight"):
        BilevelRidgeCV().fit(RowBlocks.from_arrays(X[:1], y[:1]))
    for model in (BilevelRidgeCV(), BilevelLogisticCV()):
        with pytest.raises(ValueError, match=r"hold an offset, and Bilevel\w+ takes"):
            model.fit(RowBlocks.from_arrays(X, y > 0, offset=y))
    one = RowBlocks.from_arrays(X, y, groups=np.zeros(N))
    with pytest.raises(ValueError, match="All rows are in one fold"):
        BilevelRidgeCV().fit(one)
    with pytest.raises(ValueError, match="squares overflow"):
        BilevelRidgeCV().fit(RowBlocks.from_arrays(X * 1e200, y))


def test_nothing_half_fitted_stays(data, capsys):
    X, y, _ = data
    model = BilevelRidgeCV(verbose=1).fit(RowBlocks.from_arrays(X, y, block_rows=300))
    assert "pass 1: 3 blocks, 900 rows" in capsys.readouterr().out
    before = dict(vars(model))

    def broken(error):
        yield X[:300], y[:300]
        raise error

    for error in (OSError("disk"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            model.fit(RowBlocks(lambda error=error: broken(error)))
        assert vars(model) == before


def test_memory_is_that_of_two_blocks_and_the_cells():
    """Rows of 96 MB go through, a few at a time."""
    n_blocks, rows, p = 40, 10_000, 30

    def simulated():
        for seed in range(n_blocks):
            X = np.random.default_rng(seed).standard_normal((rows, p))
            yield X, X[:, 0] + X[:, 1]

    blocks = RowBlocks(simulated)
    tracemalloc.start()
    model = BilevelRidgeCV().fit(blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks.n_passes == 1
    np.testing.assert_allclose(model.coef_, np.arange(p) < 2, atol=1e-6)
    sample = 10_000 * (p + 30) * 8  # and what thirty candidates predict for it
    assert peak < 5 * 8 * rows * p + 4 * sample
    assert peak < n_blocks * rows * p * 8 / 3


def test_the_guard_takes_twelve_times_the_cells():
    """What the page about data larger than memory says of many columns."""
    rows, p = 250, 350

    def simulated():
        for seed in range(6):
            X = np.random.default_rng(seed).standard_normal((rows, p))
            yield X, X[:, 0] + X[:, 1] ** 2

    tracemalloc.start()
    BilevelRidgeCV().fit(RowBlocks(simulated))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    block, cells = 8 * rows * p, 5 * 8 * (p + 2) ** 2
    sample = 6 * block
    assert 6 * cells < peak - 2 * block < 12 * cells + 3 * sample


@pytest.mark.parametrize("model", [BilevelLassoCV(), BilevelElasticNetCV()])
def test_an_l1_part(model, data):
    X, y, folds = data
    memory, blocks = both(model, X, y, folds)
    np.testing.assert_allclose(blocks.coef_, memory.coef_, rtol=1e-8, atol=1e-10)


def test_predictions_of_blocks(data):
    X, y, _ = data
    blocks = RowBlocks.from_arrays(X, y, block_rows=200)
    model = BilevelRidgeCV().fit(blocks)
    np.testing.assert_allclose(model.predict(blocks), model.predict(X), rtol=1e-12)
    assert model.score(blocks, y) == pytest.approx(model.score(X, y), rel=1e-12)
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    classes = BilevelRidgeClassifierCV().fit(RowBlocks.from_arrays(X, labels))
    scores = classes.decision_function(blocks)
    np.testing.assert_allclose(scores, classes.decision_function(X), rtol=1e-12)
    assert classes.score(blocks, labels) == classes.score(X, labels)
    with pytest.raises(TypeError, match="return_std=False"):
        model.predict(blocks, return_std=True)
