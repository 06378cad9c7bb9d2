"""Standard deviations: the inverse of the whole matrix, at the published strengths."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    MetaRidge,
    make_additive,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5)) + 2.0
# The third column nearly repeats the first one.
X[:, 2] = X[:, 0] + 1e-3 * RNG.standard_normal(60)
SIGNAL = X[:, 0] - X[:, 4]
Y = SIGNAL + RNG.standard_normal(60)
WEIGHT = RNG.integers(0, 4, 60).astype(float)
NEW = X[:7] + 0.3
WIDE = np.where(RNG.random((30, 80)) < 0.3, RNG.standard_normal((30, 80)), 0.0)
WIDE_Y = WIDE[:, :3].sum(axis=1) + 0.3 * RNG.standard_normal(30)
QUICK = {"hyperpenalty": None}


def whole(rows, weight, alpha, intercept=True):
    """The covariance over the dispersion, of the intercept and of all columns."""
    Z = np.c_[np.ones(len(rows)), rows]
    # What is removed, or not there, has no variance.
    kept = np.isfinite(alpha := np.r_[0.0, alpha])
    kept[0] = intercept
    Z, alpha = Z[:, kept], alpha[kept]
    C = np.zeros((len(kept), len(kept)))
    C[np.ix_(kept, kept)] = np.linalg.inv((Z.T * weight) @ Z + np.diag(alpha))
    df = np.trace(C[np.ix_(kept, kept)] @ (Z.T * weight) @ Z)
    return C, df


def form(C, contrasts):
    return np.einsum("ij,jk,ik->i", contrasts, C, contrasts)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("free", [None, [1], [0, 1]])
def test_squared_loss(intercept, free):
    model = BilevelRidgeCV(fit_intercept=intercept, unpenalized=free, **QUICK)
    model.fit(X, Y, WEIGHT)
    C, df = whole(X, WEIGHT, model.alpha_, intercept)
    noise = WEIGHT @ (Y - model.predict(X)) ** 2 / (WEIGHT.sum() - df)
    assert_allclose(model.noise_variance_, noise, rtol=1e-7)
    constant = np.full((len(NEW), 1), float(intercept))
    mean, std = model.predict(NEW, return_std=True)
    assert_allclose(mean, model.predict(NEW))
    expected = noise * (1.0 + form(C, np.c_[constant, NEW]))
    assert_allclose(std, np.sqrt(expected), rtol=1e-6)
    contrasts = np.c_[0.0 * constant, NEW]
    assert_allclose(model.contrast_std(NEW) ** 2, noise * form(C, contrasts), rtol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("free", [None, [4, 5]])
def test_fewer_rows_than_columns(kind, free):
    model = BilevelRidgeCV(unpenalized=free).fit(kind(WIDE), WIDE_Y)
    C, df = whole(WIDE, np.ones(30), model.alpha_)
    noise = ((WIDE_Y - model.predict(WIDE)) ** 2).sum() / (30 - df)
    new = WIDE[:5] * 1.5
    expected = noise * (1.0 + form(C, np.c_[np.ones(5), new]))
    assert_allclose(model.predict(kind(new), return_std=True)[1] ** 2, expected)


def test_counts_with_offset_and_exposure():
    exposure = RNG.uniform(0.5, 2.0, 60)
    counts = RNG.poisson(exposure * np.exp(0.3 * SIGNAL))
    offset = np.log(exposure)
    model = BilevelPoissonCV(unpenalized=[1], **QUICK)
    model.fit(X, counts, WEIGHT, offset=offset)
    mean = model.predict(X, offset)
    alpha = model.alpha_ * WEIGHT.sum()
    C, df = whole(X, WEIGHT * mean, alpha)
    pearson = WEIGHT @ ((counts - mean) ** 2 / mean) / (WEIGHT.sum() - df)
    assert_allclose(model.dispersion_, pearson, rtol=1e-6)
    spread = pearson * form(C, np.c_[np.ones(7), NEW])
    at, std = model.predict(NEW, offset[:7], return_std=True)
    assert_allclose(std**2, pearson * at + at**2 * spread, rtol=1e-6)
    # Rates with the exposure as weights are the same model: only ratios of these
    # weights matter, and the dispersion is that of a typical exposure.
    half = clone(model).fit(X, counts / exposure, 0.1 * exposure)
    twice = clone(model).fit(X, counts / exposure, 0.05 * exposure)
    assert_allclose(half.contrast_std(NEW), twice.contrast_std(NEW), rtol=1e-5)


def test_amounts_and_two_classes():
    amounts = RNG.gamma(2.0, np.exp(0.3 * SIGNAL))
    gamma = BilevelGammaCV(**QUICK).fit(X, amounts)
    C, _ = whole(X, np.ones(60), gamma.alpha_ * 60)
    direct = gamma.dispersion_ * form(C, np.c_[np.zeros(7), NEW])
    assert_allclose(gamma.contrast_std(NEW) ** 2, direct, rtol=1e-6)
    classes = SIGNAL + RNG.standard_normal(60) > 0.0
    logistic = BilevelLogisticCV(unpenalized=[1], **QUICK).fit(X, classes, WEIGHT)
    p = logistic.predict_proba(X)[:, 1]
    C, _ = whole(X, WEIGHT * p * (1.0 - p), logistic.alpha_)
    direct = form(C, np.c_[np.zeros(7), NEW])
    assert_allclose(logistic.contrast_std(NEW) ** 2, direct, rtol=1e-6)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("rows", "signal"), [(X, SIGNAL), (WIDE, WIDE_Y)], ids=["tall", "wide"]
)
def test_several_classes(rows, signal, own):
    y = np.digitize(signal, np.quantile(signal, [0.3, 0.7]))
    # Some rows are of another class, so that nothing separates all.
    y[::4] = (y[::4] + 1) % 3
    bounds = (0.1, 100.0)
    model = BilevelLogisticCV(
        alpha_per_class=own, unpenalized=[1], alpha_bounds=bounds, **QUICK
    )
    model.fit(rows, y)
    Z, P = np.c_[np.ones(len(rows)), rows], model.predict_proba(rows)
    alpha = np.broadcast_to(model.alpha_, model.coef_.shape)
    alpha = np.c_[np.zeros(3), alpha]
    kept = np.isfinite(alpha).ravel()
    H = np.zeros((3 * Z.shape[1],) * 2)
    for p, z in zip(P, Z, strict=True):
        H += np.kron(np.diag(p) - np.outer(p, p), np.outer(z, z))
    H = H[np.ix_(kept, kept)] + np.diag(alpha.ravel()[kept])
    # What all classes share of unpenalized columns changes no probability.
    C = np.zeros((len(kept), len(kept)))
    C[np.ix_(kept, kept)] = np.linalg.pinv(H, rcond=1e-9, hermitian=True)
    blocks = C.reshape(3, Z.shape[1], 3, Z.shape[1])
    contrasts = np.c_[np.zeros(5), rows[:5]]
    direct = [form(blocks[k, :, k], contrasts) for k in range(3)]
    assert_allclose(model.contrast_std(rows[:5]) ** 2, np.array(direct).T, rtol=1e-5)


def test_several_targets():
    both = np.c_[Y, 3.0 * Y]
    shared = BilevelRidgeCV(**QUICK).fit(X, both)
    assert_allclose(shared.noise_variance_[1], 9.0 * shared.noise_variance_[0])
    std = shared.predict(NEW, return_std=True)[1]
    assert_allclose(std[:, 1], 3.0 * std[:, 0])
    single = BilevelRidgeCV(**QUICK).fit(X, Y)
    own = BilevelRidgeCV(alpha_per_target=True, **QUICK).fit(X, both)
    assert_allclose(own.contrast_std(NEW)[:, 0], single.contrast_std(NEW), rtol=1e-6)
    classes = BilevelRidgeClassifierCV(**QUICK).fit(X, np.digitize(Y, [-1.0, 1.0]))
    assert classes.contrast_std(NEW).shape == (7, 3)


def test_weights_are_rows():
    repeated = np.repeat(np.arange(60), WEIGHT.astype(int))
    options = {"cv": "gcv", "feature_groups": "shared", **QUICK}
    one = BilevelRidgeCV(**options).fit(X, Y, WEIGHT)
    other = BilevelRidgeCV(**options).fit(X[repeated], Y[repeated])
    stds = [model.predict(NEW, return_std=True)[1] for model in (one, other)]
    assert_allclose(*stds, rtol=1e-6)


def test_no_features_left():
    noise = np.random.default_rng(1).standard_normal(60)
    model = BilevelRidgeCV(hyperpenalty=("sparse", 1e6)).fit(X, noise)
    assert np.isinf(model.alpha_).all()
    assert not model.contrast_std(NEW).any()
    std = model.predict(NEW, return_std=True)[1]
    assert_allclose(std, noise.std(ddof=1) * np.sqrt(1.0 + 1.0 / 60))


def test_as_bayesian_ridge_at_the_same_strength():
    peer = BayesianRidge().fit(X, Y)
    alpha = peer.lambda_ / peer.alpha_
    model = BilevelRidgeCV(
        feature_groups="shared", alpha_init=alpha, alpha_bounds=(alpha, alpha), **QUICK
    ).fit(X, Y)
    ours = model.contrast_std(NEW) / np.sqrt(model.noise_variance_)
    C = peer.sigma_ * peer.alpha_
    assert_allclose(ours**2, form(C, NEW), rtol=1e-6)


def test_pipelines_searches_and_tasks():
    pipeline = make_pipeline(StandardScaler(), BilevelRidgeCV(**QUICK)).fit(X, Y)
    search = BilevelSearchCV(clone(pipeline)).fit(X, Y)
    mean, std = search.predict(NEW, return_std=True)
    assert_allclose(mean, search.predict(NEW))
    plain = search.best_estimator_.predict(NEW, return_std=True)[1]
    assert_allclose(std, plain)
    # Of one task that may not differ from its centre the centre is a ridge model.
    meta = MetaRidge(centre_alpha=2.0).fit(X, Y)
    C, _ = whole(X, np.ones(60), np.full(5, 2.0))
    direct = meta.noise_variance_ * form(C, np.c_[np.zeros(7), NEW])
    assert_allclose(meta.contrast_std(NEW) ** 2, direct, rtol=1e-6)
    assert_allclose(meta.contrast_std(sparse.csr_array(NEW)) ** 2, direct, rtol=1e-6)
    with pytest.raises(ValueError, match="contrasts has 3 columns"):
        meta.contrast_std(NEW[:, :3])


def test_too_large_a_fit_says_so():
    wide = sparse.hstack([X, sparse.csr_array((60, 70_000))], format="csr")
    model = BilevelRidgeCV(feature_groups="shared", **QUICK).fit(wide, Y)
    assert not hasattr(model, "noise_variance_")
    with pytest.raises(ValueError, match="too large"):
        model.predict(wide, return_std=True)


def coverage(estimator, draw, seed):
    """Share of the rows in which the band of the curved term holds it."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0.0, 1.0, (250, 2))
    curve = np.sin(2.0 * np.pi * rows[:, 0])
    model = make_additive(estimator).fit(rows, draw(curve, rng))
    made, last = model[:-1].transform(rows), model[-1]
    own = np.arange(made.shape[1]) < made.shape[1] // 2
    contrasts = np.where(own, made - made.mean(axis=0), 0.0)
    error = contrasts @ np.ravel(last.coef_) - (curve - curve.mean())
    return np.mean(abs(error) <= 1.96 * last.contrast_std(contrasts))


@pytest.mark.parametrize(
    ("estimator", "draw"),
    [
        (BilevelRidgeCV(), lambda f, rng: f + 0.5 * rng.standard_normal(len(f))),
        # Counts whose variance is three times their mean.
        (
            BilevelPoissonCV(),
            lambda f, rng: rng.negative_binomial(np.exp(f + 1.0) / 2.0, 1.0 / 3.0),
        ),
    ],
    ids=["normal", "counts"],
)
def test_coverage_of_bands(estimator, draw):
    found = [coverage(estimator, draw, seed) for seed in range(10)]
    assert 0.90 <= np.mean(found) <= 0.98
