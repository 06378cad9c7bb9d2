"""Classes, counts and amounts in row blocks: tuned on a part, fitted to all rows."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.model_selection import PredefinedSplit

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelTweedieCV,
    RowBlocks,
)
from skbilevel.blocks import Block
from skbilevel.model_selection._block_glm import (
    AllRows,
    GradientOfBlock,
    Link,
    PooledLoss,
    sample_hessian,
)
from skbilevel.problems import LogisticLoss, PoissonLoss, SoftmaxLoss

N, P, PART = 4000, 8, 800


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P)) + 1.0
    eta = X[:, :4] @ [0.5, -0.5, 0.3, -0.2]
    rows = {
        "two": np.where(rng.random(N) < 1 / (1 + np.exp(-eta)), "yes", "no"),
        "three": np.digitize(eta + rng.logistic(size=N), [-1, 1]) * 2,
        "counts": rng.poisson(np.exp(eta)),
        "amounts": np.exp(eta) * rng.gamma(2.0, size=N),
    }
    return X, rows, rng.random(N), 0.1 * rng.standard_normal(N)


FITS = {
    "two": (BilevelLogisticCV(), "two"),
    "three": (BilevelLogisticCV(class_weight="balanced", unpenalized=[1]), "three"),
    "by class": (BilevelLogisticCV(alpha_per_class=True), "three"),
    "counts": (BilevelPoissonCV(), "counts"),
    "groups": (BilevelGammaCV(feature_groups=np.arange(P) // 3), "amounts"),
    "no intercept": (BilevelTweedieCV(fit_intercept=False), "amounts"),
}


def blocks_of(data, kind, rows=900, part=PART, **more):
    X, y, weight, _ = data
    more = {"sample_weight": weight, "tuning_rows": part, **more}
    return RowBlocks.from_arrays(X, y[kind], block_rows=rows, **more)


@pytest.mark.parametrize("name", FITS)
def test_coefficients_are_those_of_all_rows(name, data):
    """The gradient at all rows is zero, by finite differences of the objective."""
    model, kind = FITS[name]
    blocks = blocks_of(data, kind)
    model = clone(model).fit(blocks)
    assert blocks.n_passes <= 15
    X, y, weight, _ = data
    classes = getattr(model, "classes_", None)
    if classes is None:
        y, t = y[kind], 1
    else:
        y, t = np.searchsorted(classes, y[kind]), len(np.atleast_2d(model.coef_))
    if name == "three":
        totals = np.bincount(y, weight)
        weight = weight * (weight.sum() / (3 * totals))[y]
    alpha = np.broadcast_to(model.alpha_, (t, P))
    used = np.isfinite(alpha)
    power = model._power() if classes is None else None

    def objective(flat):
        W = np.zeros((t, P))
        W[used] = flat[: used.sum()]
        b = flat[used.sum() :] if model.fit_intercept else 0.0
        eta = X @ W.T + b
        if classes is None:
            mu = np.exp(eta[:, 0])
            if power == 1.0:
                loss = mu - y * eta[:, 0]
            elif power == 2.0:
                loss = y / mu + eta[:, 0]
            else:
                loss = mu ** (2 - power) / (2 - power) - y * mu ** (1 - power) / (
                    1 - power
                )
            total = weight @ loss / weight.sum()
        else:
            if t == 1:
                eta = np.hstack([np.zeros((N, 1)), eta])
            norm = np.log(np.exp(eta).sum(axis=1))
            total = weight @ (norm - eta[np.arange(N), y])
        return total + 0.5 * np.sum(alpha[used] * W[used] ** 2)

    coef = np.atleast_2d(model.coef_)
    assert not coef[~used].any()
    level = np.atleast_1d(model.intercept_) if model.fit_intercept else []
    flat = np.r_[coef[used], level]
    scale = 1.0 if classes is None else N
    steps = 1e-5 * np.eye(len(flat))

    def gradient(x):
        ends = [objective(x + step) - objective(x - step) for step in steps]
        return np.array(ends) / (2e-5 * scale)

    assert abs(gradient(flat)).max() < 1e-7
    assert abs(gradient(flat + 0.05 * (-1.0) ** np.arange(len(flat)))).max() > 1e-3


def test_like_scikit_learn_at_the_same_strengths(data):
    X, y, weight, _ = data
    options = {"tol": 1e-12, "solver": "newton-cholesky", "max_iter": 200}
    for model, kind, plain in (
        (BilevelLogisticCV(), "two", LogisticRegression(**options)),
        (BilevelPoissonCV(), "counts", PoissonRegressor(**options)),
    ):
        fitted = model.fit(blocks_of(data, kind))
        used = np.isfinite(fitted.alpha_)
        root = np.sqrt(fitted.alpha_[used])
        plain.fit(X[:, used] / root, y[kind], sample_weight=weight)
        found = np.ravel(fitted.coef_)[used]
        np.testing.assert_allclose(found, np.ravel(plain.coef_) / root, rtol=1e-5)


@pytest.mark.parametrize("name", ["two", "three", "counts"])
def test_whatever_the_blocks_are(name, data):
    model, kind = FITS[name]
    fits = [clone(model).fit(blocks_of(data, kind, rows)) for rows in (N, 97, N - 1)]
    for other in fits[1:]:
        np.testing.assert_allclose(other.coef_, fits[0].coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.intercept_, fits[0].intercept_, rtol=1e-6)
        np.testing.assert_allclose(other.alpha_, fits[0].alpha_, rtol=1e-10)


def test_a_part_that_is_all_rows_is_the_fit_in_memory(data):
    X, y, weight, offset = data
    X, y, weight, offset = X[:500], y["counts"][:500], weight[:500], offset[:500]
    more = {"sample_weight": weight, "offset": offset}
    blocks = RowBlocks.from_arrays(X, y, block_rows=90, **more)
    fitted = BilevelPoissonCV().fit(blocks)
    memory = BilevelPoissonCV().fit(X, y, **more)
    np.testing.assert_array_equal(fitted.coef_, memory.coef_)
    assert fitted.best_score_ == memory.best_score_
    assert set(vars(fitted)) == set(vars(memory))
    assert blocks.n_passes == 1
    assert not hasattr(fitted, "feature_names_in_")


def test_offsets_groups_names_and_folds(data):
    import pandas as pd
    import polars as pl

    X, y, weight, offset = data
    names = [f"x{j}" for j in range(P)]
    frame = pl.DataFrame(X, schema=names).with_columns(
        y=y["counts"], w=weight, o=offset, g=np.arange(N) // 4
    )
    parts = {"target": "y", "sample_weight": "w", "offset": "o", "groups": "g"}
    blocks = RowBlocks.from_table(frame, **parts, tuning_rows=PART, block_rows=900)
    model = BilevelPoissonCV(unpenalized=["x7"]).fit(blocks)
    X = pd.DataFrame(X, columns=names)
    assert model.feature_names_in_.tolist() == names
    assert model.alpha_[7] == 0.0
    expected = model.predict(X, offset=offset)
    np.testing.assert_allclose(model.predict(blocks), expected, rtol=1e-12)
    # Without the offsets the coefficients would be others.
    used = np.isfinite(model.alpha_)
    mu = np.exp(X @ model.coef_ + model.intercept_ + offset)
    gradient = X.T @ (weight * (mu - y["counts"])) / weight.sum()
    np.testing.assert_allclose(
        (gradient + np.where(used, model.alpha_, 0.0) * model.coef_)[used], 0, atol=1e-8
    )
    folds = np.arange(N) % 3
    model = BilevelLogisticCV(cv=PredefinedSplit(folds)).fit(blocks_of(data, "two"))
    assert isinstance(model.cv, PredefinedSplit)
    assert len(model.cv.test_fold) == N
    with pytest.raises(ValueError, match="folds for 9 rows"):
        BilevelLogisticCV(cv=PredefinedSplit(np.arange(9) % 3)).fit(
            blocks_of(data, "two")
        )


def test_sparse_text_is_fitted_by_products(monkeypatch):
    rng = np.random.default_rng(0)
    X = sp.random(3000, 60, density=0.1, random_state=0, format="csr")
    y = (X @ rng.standard_normal(60) + 0.3 * rng.logistic(size=3000) > 0).astype(int)
    fits = []
    for limit in (4000, 10):  # a dense Hessian of the part, and its diagonal
        # With so many columns as take the diagonal by themselves it would last long.
        monkeypatch.setattr("skbilevel.model_selection._block_glm._DENSE_UP_TO", limit)
        blocks = RowBlocks.from_arrays(X, y, block_rows=500, tuning_rows=1500)
        fits.append(BilevelLogisticCV().fit(blocks))
        assert blocks.n_passes <= 60
    np.testing.assert_allclose(fits[1].coef_, fits[0].coef_, atol=1e-6)


@pytest.mark.parametrize("loss", [LogisticLoss(), SoftmaxLoss(), PoissonLoss()])
@pytest.mark.parametrize("sparse", [False, True])
def test_derivatives_of_a_block(loss, sparse):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 5))
    t = 3 if isinstance(loss, SoftmaxLoss) else 1
    classes = None if isinstance(loss, PoissonLoss) else np.arange(3 if t > 1 else 2)
    columns, origin = np.array([0, 2, 3]), rng.standard_normal(3)
    link = Link(AllRows(loss, classes), columns, origin, True)
    y = rng.integers(0, 2 if t == 1 else 3, 30)
    weight, offset = rng.random(30), rng.standard_normal(30)
    given = sp.csr_array(X) if sparse else X
    block = Block(given, y, weight, offset)
    B = rng.standard_normal((4, t))

    def value(flat):
        return GradientOfBlock(link, flat.reshape(t, 4).T)(block).value

    def gradient(flat):
        return GradientOfBlock(link, flat.reshape(t, 4).T)(block).grad.T.ravel()

    flat = B.T.ravel()
    np.testing.assert_allclose(
        approx_fprime(flat, value, 1e-6), gradient(flat), rtol=1e-4, atol=1e-4
    )
    parts = {"X": given, "y": y, "sample_weight": weight, "offset": offset}
    H = sample_hessian(link, parts, B, 1.0)
    by_differences = approx_fprime(flat, gradient, 1e-6)
    np.testing.assert_allclose(H, by_differences, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sample_hessian(link, parts, B, 0.5), 2.0 * H)


@pytest.mark.parametrize(("model", "kind"), [FITS["two"], FITS["counts"]])
def test_strengths_of_a_sum_are_those_of_the_part(model, kind, data):
    """All rows pull harder than the part against the same 0.5 sum alpha w^2."""
    seen = []

    class Watched(type(model)):
        def _all_rows(self, part):
            seen.extend([len(part.sample.rank), self.alpha_])
            return super()._all_rows(part)

    fitted = Watched().fit(blocks_of(data, kind, sample_weight=None))
    n, alpha = seen
    assert n == PART
    # The unit of a mean loss has the number of rows in it.
    factor = 1.0 if kind == "two" else PART / N
    np.testing.assert_allclose(fitted.alpha_, factor * alpha)


@pytest.mark.parametrize("name", ["two", "three", "counts", "groups"])
def test_standard_deviations_are_those_of_all_rows(name, data):
    """The curvature is that of the part, as often as there are rows."""
    model, kind = FITS[name]
    X, y, weight, _ = data
    fitted = clone(model).fit(blocks_of(data, kind))
    memory = clone(model).fit(X, y[kind], sample_weight=weight)
    part = clone(model).fit(X[:PART], y[kind][:PART], sample_weight=weight[:PART])
    # What all classes share is known from the penalty alone: column 1 has none.
    asked = np.eye(P)[[1]] if name == "three" else np.eye(P)
    found, exact, wide = (
        np.median(each.contrast_std(asked)) for each in (fitted, memory, part)
    )
    assert found == pytest.approx(exact, rel=0.15)
    assert wide > 1.5 * exact


def test_tuning_takes_twelve_times_the_part():
    """What the page about data larger than memory says; all rows are forty times it."""
    part, p, rows = 1000, 50, 1000

    def simulated():
        for seed in range(40):
            rng = np.random.default_rng(seed)
            X = rng.standard_normal((rows, p))
            yield X, X[:, 0] + rng.logistic(size=rows) > 0

    tracemalloc.start()
    BilevelLogisticCV().fit(RowBlocks(simulated, tuning_rows=part))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - 2 * 8 * rows * p < 12 * 8 * part * p + 2**21


BAD = [
    (BilevelPoissonCV(), "counts", lambda y: y - 5, "negative values"),
    (BilevelGammaCV(), "amounts", lambda y: y * (y > 1), "zeros"),
    (BilevelLogisticCV(), "two", lambda y: np.full(N, "a"), "one class only"),
    (
        BilevelLogisticCV(),
        "two",
        lambda y: np.where(np.arange(N) == 6, "rare", y),
        "Class 'rare' has no row among the 800",
    ),
]


@pytest.mark.parametrize(("model", "kind", "change", "sentence"), BAD)
def test_targets_that_cannot_be_used(model, kind, change, sentence, data):
    X, y, *_ = data
    blocks = RowBlocks.from_arrays(X, change(y[kind]), tuning_rows=PART)
    with pytest.raises(ValueError, match=sentence):
        clone(model).fit(blocks)


def test_files_that_change_and_interrupts(data, capsys):
    X, y, *_ = data
    passes = []

    def make(at):
        passes.append(1)
        yield X, y["two"]
        if len(passes) == 3:
            if at is None:
                yield X, y["two"][::-1]
            raise KeyboardInterrupt
        yield X, y["two"]

    model = BilevelLogisticCV(verbose=1)
    with pytest.raises(ValueError, match="Block 1 of the rows was changed"):
        model.fit(RowBlocks(lambda: make(None), tuning_rows=PART))
    assert not hasattr(model, "coef_")
    assert "pass 1: 8,000 rows, 800 to tune on" in capsys.readouterr().out
    passes.clear()
    with pytest.raises(KeyboardInterrupt):
        model.fit(RowBlocks(lambda: make(1), tuning_rows=PART))
    # What was tuned on the part is a whole model.
    assert model.predict_proba(X[:2]).shape == (2, 2)
    with pytest.raises(ValueError, match="tuning_rows=1 must be"):
        RowBlocks(lambda: make(1), tuning_rows=1)


def test_the_pooled_loss_is_no_mean_over_rows_in_memory():
    link = Link(AllRows(LogisticLoss(), np.arange(2)), np.arange(2), np.zeros(2), False)
    blocks = RowBlocks.from_arrays(np.eye(2), np.arange(2))
    pooled = PooledLoss(
        blocks, link, np.ones((2, 1)), np.zeros((2, 1)), np.eye(2), lambda value: None
    )
    point = pooled.at(np.empty(0), np.zeros(2))
    assert point.value == pytest.approx(2 * np.log(2))
    assert not any(hasattr(each, "take") for each in (pooled, point))
