"""``n_jobs`` under the backends of joblib: the same model, X sent once."""

import pickle
import threading
import warnings

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    MetaRidge,
)
from skbilevel._threads import each_in_threads, map_threads, n_threads
from skbilevel._workers import has_workers, map_workers
from skbilevel.exceptions import BoundaryWarning
from skbilevel.linear_model import _parts_apart

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 6))
Y = X[:, :2] @ [[1.0, 0.0], [0.5, -1.0]] + 0.5 * RNG.standard_normal((60, 2))
WIDE = RNG.standard_normal((40, 60))
LINE = WIDE[:, 0] + 0.5 * RNG.standard_normal(40)
TASKS = np.arange(60) % 8


@pytest.fixture(params=["threading", "loky", "dask"])
def backend(request):
    """Choose a backend with two workers; Dask's are threads of this process here."""
    if request.param != "dask":
        with joblib.parallel_config(backend=request.param, n_jobs=2):
            yield request.param
        return
    distributed = pytest.importorskip("distributed")
    with (
        warnings.catch_warnings(),
        distributed.Client(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
        ),
    ):
        # Of threads of Dask that end with it.
        warnings.simplefilter("ignore", ResourceWarning)
        with joblib.parallel_config(backend="dask", n_jobs=2):
            yield "dask"


CASES = {
    "targets": (BilevelRidgeCV(alpha_per_target=True, scoring="r2"), X, Y, {}),
    "sparse targets": (
        BilevelRidgeCV(alpha_per_target=True, cv=3),
        sparse.csr_array(X * (X > 0)),
        Y,
        {"sample_weight": np.arange(60.0) % 3},
    ),
    "targets by leave-one-out": (
        BilevelRidgeCV(
            alpha_per_target=True, hyperpenalty=None, cv="loo", scoring="r2"
        ),
        X,
        Y,
        {},
    ),
    "targets with one strength": (
        BilevelRidgeCV(
            alpha_per_target=True, feature_groups="shared", hyperpenalty=None, cv=3
        ),
        X,
        Y,
        {},
    ),
    "training sets of kernels": (BilevelRidgeCV(), WIDE, LINE, {}),
    "training sets of classes": (
        BilevelLogisticCV(feature_groups="shared", cv=3),
        X,
        (Y[:, 0] > 0).astype(int),
        {},
    ),
    "folds": (
        BilevelPoissonCV(hyperpenalty=("smooth", 1.0), cv=3, max_iter=3),
        X,
        RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float),
        {},
    ),
    "tasks": (MetaRidge(), X, Y[:, 0], {"tasks": TASKS}),
    "a search": (
        BilevelSearchCV(BilevelRidgeCV(alpha_per_target=True), cv=3),
        X,
        Y,
        {},
    ),
}


def learned(model):
    """Coefficients, strengths and the score of what was fitted."""
    model = getattr(model, "best_estimator_", model)
    names = ("coef_", "alpha_", "best_score_", "intercept_")
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_the_same_model(backend):
    """One test for all cases: a cluster takes longer to start than they do."""
    for name, (model, Z, y, given) in CASES.items():
        found = learned(model.fit(Z, y, **given))
        with joblib.parallel_config(backend="threading", n_jobs=1):
            expected = learned(model.fit(Z, y, **given))
        assert found.keys() == expected.keys(), name
        for key, value in found.items():
            np.testing.assert_array_equal(value, expected[key], err_msg=f"{name} {key}")


def test_whole_fits(backend):
    found = cross_val_score(BilevelRidgeCV(), X, Y[:, 0], cv=3)
    with joblib.parallel_config(backend="threading", n_jobs=1):
        expected = cross_val_score(BilevelRidgeCV(), X, Y[:, 0], cv=3)
    np.testing.assert_array_equal(found, expected)


def where(shared, k):
    """Which memory a worker sees."""
    return type(shared).__name__, getattr(shared, "filename", None), float(shared[k, 0])


def test_x_is_mapped_for_processes():
    large = RNG.standard_normal((1500, 100))
    with joblib.parallel_config(backend="loky", n_jobs=2):
        assert has_workers(None)
        found = map_workers(where, large, [(k,) for k in range(6)], None)
    # One file for all parts.
    assert len({file for _, file, _ in found}) == 1
    assert {kind for kind, *_ in found} == {"memmap"}
    assert [value for *_, value in found] == large[:6, 0].tolist()


def test_x_does_not_come_back(monkeypatch):
    """What a worker returns is small beside X: neither folds nor errors hold it."""
    wide = np.random.default_rng(1).standard_normal((2000, 60))
    sizes = []

    def map_here(function, shared, items, n_jobs):
        found = [function(shared, *item) for item in items]
        sizes.extend(len(pickle.dumps(each)) for each in found)
        return found

    monkeypatch.setattr(_parts_apart, "map_workers", map_here)
    one = BilevelRidgeCV(alpha_per_target=True, feature_groups="shared")
    here = one.fit(wide, wide[:, :2])
    with joblib.parallel_config(backend="loky", n_jobs=2):
        apart = clone(one).fit(wide, wide[:, :2])
    assert len(sizes) == 2
    assert max(sizes) < 0.3 * wide.nbytes
    errors = (model.contrast_std(wide[:3]) for model in (here, apart))
    np.testing.assert_allclose(*errors, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("backend", ["dask"], indirect=True)
def test_x_is_scattered_once(backend, monkeypatch):
    client = pytest.importorskip("distributed").default_client()
    sent = []
    scatter = type(client).scatter

    def counted(self, data, *args, **kwargs):
        each = data if isinstance(data, list) else [data]
        sent.extend(getattr(value, "shape", None) for value in each)
        return scatter(self, data, *args, **kwargs)

    monkeypatch.setattr(type(client), "scatter", counted)
    many = RNG.standard_normal((60, 5))
    BilevelRidgeCV(alpha_per_target=True, cv=3).fit(X, many)
    assert sent.count(X.shape) == 1
    assert sent.count((60, 1)) <= many.shape[1]


@pytest.mark.slow
def test_ray():
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    model = BilevelRidgeCV(alpha_per_target=True)
    expected = model.fit(X, Y).coef_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            register_ray()
            with joblib.parallel_config(backend="ray", n_jobs=2):
                assert has_workers(None)
                found = model.fit(X, Y).coef_
        finally:
            ray.shutdown()
    np.testing.assert_array_equal(found, expected)


def test_training_sets_have_threads_of_their_own():
    """Metadata are asked for in every training set; a barrier lets in two at a time."""
    seen, both = set(), threading.Barrier(2, timeout=30)

    def metadata(Z, y, weight):
        if len(y) == 30:  # of the training rows of a fold
            seen.add(threading.get_ident())
            both.wait()
        return Z.std(axis=0)[:, None]

    model = BilevelRidgeCV(feature_metadata=metadata, cv=KFold(4), n_jobs=2)
    model.fit(WIDE, LINE)
    assert len(seen) >= 2


def test_words_of_workers_are_heard():
    noise = RNG.standard_normal((60, 2))
    model = BilevelRidgeCV(alpha_per_target=True, feature_groups="shared")
    with pytest.warns(BoundaryWarning) as expected:
        model.fit(X, noise)
    with (
        joblib.parallel_config(backend="loky", n_jobs=2),
        pytest.warns(BoundaryWarning) as found,
    ):
        model.fit(X, noise)
    assert {str(each.message) for each in found} == {
        str(each.message) for each in expected
    }


def test_who_listens_is_told(capsys):
    """Lines of ``verbose`` come from this process, in which targets then stay."""
    with joblib.parallel_config(backend="loky", n_jobs=2):
        BilevelRidgeCV(alpha_per_target=True, verbose=1, cv=3).fit(X, Y)
    printed = capsys.readouterr().out
    assert "target 0" in printed
    assert "target 1" in printed


def test_threads_are_not_multiplied():
    counts = map_threads(lambda k: n_threads(2), [(k,) for k in range(3)], 2)
    assert counts == [1, 1, 1]
    assert n_threads(2) == 2
    with joblib.parallel_config(n_jobs=2):
        assert n_threads(None) == 2
    assert n_threads(None) == 1


def test_items_come_in_order_and_when_they_are_asked_for():
    begun = []

    def square(k):
        begun.append(k)
        return k * k

    one = each_in_threads(square, [(k,) for k in range(5)], 1)
    assert next(one) == 0
    assert begun == [0]
    assert list(each_in_threads(square, [(k,) for k in range(5)], 2)) == [
        0,
        1,
        4,
        9,
        16,
    ]
