"""Strengths as a function of feature metadata: what is seen, what is gained."""

import numpy as np
import pandas as pd
import pytest

from skbilevel import BilevelRidgeCV
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._metadata import Metadata, MetadataStage, check_metadata
from skbilevel.model_selection._paths import make_candidates
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._resampling import TrainingSet, halvings, random_sides
from skbilevel.model_selection._strengths import Strengths
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows, RowMoments

QUICK = Recipe(half=(1.0,), evidence=(), elastic_net=2)


def all_candidates(*given):
    """What is made in the end."""
    *_, (_, known) = make_candidates(*given)
    return known()


def known_strengths(n, p, seed):
    """Coefficients whose scale is a function of two of three metadata columns."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((p, 3))
    w = rng.standard_normal(p) * np.exp(1.5 * Z[:, 0] - Z[:, 1])
    X, X_test = rng.standard_normal((n, p)), rng.standard_normal((2000, p))
    y = X @ w
    y = y + y.std() * rng.standard_normal(n)
    return X, y, X_test, X_test @ w, Z


def rows_of(X, y, weight=None, n_free=0):
    p = X.shape[1]
    return AugmentedRows(
        X,
        y[:, None],
        np.ones(len(y)) if weight is None else weight,
        np.arange(n_free),
        np.arange(n_free, p),
        True,
        np.zeros(p),
        np.zeros(1),
    )


def halved(index, n_rows, n_splits=2):
    sides = random_sides(n_rows, n_splits, np.random.default_rng(0))
    return TrainingSet(index, halvings(index, sides), None)


def trainer_of(rows, training):
    if rows.n_penalized < len(training.rows):
        return MomentTrainer(rows, [training], RowMoments(rows))
    return KernelTrainer.of(KernelRows.of(rows), training)


def correlations(X, y, sample_weight):
    centered = sample_weight * (y - np.average(y, weights=sample_weight))
    return np.log(1e-3 + abs(X.T @ centered))


@pytest.mark.parametrize(("n", "p", "n_seeds"), [(150, 40, 3), (50, 70, 1)])
def test_metadata_that_explain_the_strengths_help(n, p, n_seeds):
    """Beside one strength for all, and beside what the default finds without them."""
    logs = []
    for seed in range(n_seeds):
        X, y, X_test, y_test, Z = known_strengths(n, p, seed)
        told = BilevelRidgeCV(feature_metadata=Z).fit(X, y)
        assert "metadata" in told.hyperpenalty_["family"]
        others = [BilevelRidgeCV(feature_groups="shared"), BilevelRidgeCV()]
        models = [told, *(model.fit(X, y) for model in others)]
        errors = [np.mean((m.predict(X_test) - y_test) ** 2) for m in models]
        logs.append(np.log(errors[0] / np.array(errors[1:])))
    shared, plain = np.exp(np.mean(logs, axis=0))
    assert shared < 0.65
    assert plain < 0.9


def test_metadata_of_noise_do_little_harm():
    ratio = []
    for seed in range(4):
        X, y, X_test, y_test, _ = known_strengths(150, 40, seed)
        noise = np.random.default_rng(seed + 50).standard_normal((40, 3))
        plain = BilevelRidgeCV().fit(X, y).predict(X_test)
        told = BilevelRidgeCV(feature_metadata=noise).fit(X, y).predict(X_test)
        ratio.append(np.mean((told - y_test) ** 2) / np.mean((plain - y_test) ** 2))
    assert np.exp(np.mean(np.log(ratio))) < 1.15


@pytest.mark.parametrize("p", [12, 90])
def test_callable_sees_training_rows_only(p):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, p)), np.arange(60.0)
    rows = rows_of(X, y, rng.uniform(0.5, 2, 60))
    training = halved(np.arange(0, 60, 2), 60)
    seen = []

    def columns(X, y, sample_weight):
        np.testing.assert_array_equal(sample_weight, rows.weight[y.astype(int)])
        np.testing.assert_array_equal(X, rows.X[y.astype(int)])
        seen.append(set(y.astype(int)))
        return correlations(X, y, sample_weight)

    all_candidates(trainer_of(rows, training), QUICK, Strengths(), Metadata(columns))
    assert seen[0] == set(training.rows)
    assert seen[1:] == [set(inner) for inner, _ in training.halves]


@pytest.mark.parametrize("p", [12, 90])
def test_held_out_rows_change_nothing(p):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((80, p)), rng.standard_normal(80)
    y += X[:, 0]
    training = halved(np.arange(50), 80)
    other_X, other_y = X.copy(), y.copy()
    other_X[50:], other_y[50:] = rng.standard_normal((30, p)), rng.standard_normal(30)
    made = [
        all_candidates(
            trainer_of(rows_of(*each), training),
            QUICK,
            Strengths(),
            Metadata(correlations),
        )
        for each in ((X, y), (other_X, other_y))
    ]
    np.testing.assert_array_equal(made[0].v, made[1].v)
    np.testing.assert_array_equal(made[0].w, made[1].w)


def test_units_of_the_targets_reach_the_callable():
    X, y, *_ = known_strengths(60, 8, 0)
    sizes = []

    def columns(X, y, sample_weight):
        assert y.ndim == 1
        sizes.append(abs(y).max())
        return np.ones(X.shape[1])

    BilevelRidgeCV(feature_metadata=columns).fit(X, 1e6 * y)
    assert max(sizes) == pytest.approx(1e6 * abs(y).max())


def test_several_targets_come_as_columns():
    X, y, *_ = known_strengths(60, 8, 0)

    def columns(X, y, sample_weight):
        assert y.shape == (len(X), 2)
        return np.arange(8.0)

    BilevelRidgeCV(feature_metadata=columns).fit(X, np.stack([y, -y], axis=1))


def test_matrix_data_frame_and_column_are_the_same():
    X, y, _, _, Z = known_strengths(80, 10, 0)
    frame = pd.DataFrame(Z, columns=["a", "b", "c"])
    first = BilevelRidgeCV(feature_metadata=Z).fit(X, y)
    second = BilevelRidgeCV(feature_metadata=frame).fit(X, y)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    BilevelRidgeCV(feature_metadata=Z[:, 0]).fit(X, y)


def test_columns_in_other_units_are_the_same():
    X, y, _, _, Z = known_strengths(80, 10, 0)
    first = BilevelRidgeCV(feature_metadata=Z).fit(X, y)
    second = BilevelRidgeCV(feature_metadata=1e6 * Z + 3.0).fit(X, y)
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=1e-6, atol=1e-9)


def test_rows_of_unpenalized_features_play_no_part():
    X, y, _, _, Z = known_strengths(80, 10, 0)
    other = Z.copy()
    other[[2, 5]] = 100.0
    first = BilevelRidgeCV(feature_metadata=Z, unpenalized=[2, 5]).fit(X, y)
    second = BilevelRidgeCV(feature_metadata=other, unpenalized=[2, 5]).fit(X, y)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    assert (first.alpha_[[2, 5]] == 0).all()


def test_groups_are_described_by_the_mean_of_their_features():
    X, y, _, _, Z = known_strengths(80, 12, 0)
    groups = np.repeat(np.arange(6), 2)
    model = BilevelRidgeCV(feature_metadata=Z, feature_groups=groups).fit(X, y)
    assert len(np.unique(model.alpha_)) <= 6
    stage = MetadataStage.of(
        trainer_of(rows_of(X, y), halved(np.arange(80), 80)),
        Metadata(Z),
        np.eye(6)[groups],
    )
    assert stage.full.shape == (1, 6, 4)
    # Orthonormal over the strengths, and orthogonal to the common level.
    np.testing.assert_allclose(
        stage.full[0].T @ stage.full[0] / 6, np.eye(4), atol=1e-12
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((9, 2)), r"feature_metadata has shape \(9, 2\), but X has 10"),
        (np.ones((10, 2, 2)), "feature_metadata has shape"),
        (np.ones((10, 0)), "at least one column"),
        (np.full((10, 1), np.nan), "feature_metadata holds NaN or inf"),
        (np.full((10, 1), "word"), "feature_metadata has to hold numbers"),
        (lambda X, y, s: np.ones(9), "feature_metadata has shape"),
        (lambda X, y, s: np.full(10, np.inf), "feature_metadata holds NaN or inf"),
    ],
)
def test_messages(given, message):
    X, y, *_ = known_strengths(60, 10, 0)
    with pytest.raises(ValueError, match=message):
        BilevelRidgeCV(feature_metadata=given).fit(X, y)


def test_constant_metadata_are_no_metadata():
    X, y, *_ = known_strengths(60, 10, 0)
    model = BilevelRidgeCV(feature_metadata=np.ones((10, 2))).fit(X, y)
    assert np.isfinite(model.coef_).all()


def test_check_metadata_takes_integers_and_lists():
    assert check_metadata([[1], [2]], 2).dtype == np.float64
