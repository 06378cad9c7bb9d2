"""One free deviation per column: the step, its gradient, and when it is taken."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from skbilevel import BilevelGammaCV, BilevelLogisticCV, BilevelPoissonCV
from skbilevel.model_selection._average import Averaging
from skbilevel.model_selection._guard_terms import GuardTerms
from skbilevel.model_selection._held_out import HeldOut
from skbilevel.model_selection._large_budget import LargeBudget
from skbilevel.model_selection._large_columns import Shape
from skbilevel.model_selection._large_guard import guarded_large
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_search import HoldOut, MetadataSearch
from skbilevel.model_selection._large_tuning import (
    Deviations,
    choose_refined,
)
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._resampling import NestedPlan, TrainingSet
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import LogisticLoss, PoissonLoss, SoftmaxLoss, SquaredLoss
from skbilevel.problems._moments import AugmentedRows
from skbilevel.solvers.inner import NewtonCG

N, P, T, K = 120, 90, 3, 3
EXACT = NewtonCG(max_newton=50, max_cg=500, max_adjoint=1000)
LOSSES = {"binary": LogisticLoss(), "softmax": SoftmaxLoss(), "counts": PoissonLoss()}
RULES = {
    "nats": Averaging(temperature=1.0, doubt=1.0, nats=True),
    "relative": Averaging(),
}


def _rows(name="softmax", seed=0, weight=None):
    """Sparse rows whose rarest columns occur once; the first columns tell classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, T, N)
    X = rng.random((N, P)) * (rng.random((N, P)) < np.geomspace(0.5, 0.008, P))
    X[:, :6] += 0.6 * (np.arange(6) % T == labels[:, None])
    y = {
        "binary": (labels == 0).astype(float)[:, None],
        "softmax": np.eye(T)[labels],
        "counts": rng.poisson(1.0 + 3.0 * (labels == 0)).astype(float)[:, None],
    }[name]
    weight = np.ones(N) if weight is None else weight
    zero = np.zeros(P), np.zeros(y.shape[1])
    none = np.empty(0, dtype=int)
    rest = np.arange(P)
    return AugmentedRows(sparse.csr_array(X), y, weight, none, rest, True, *zero)


def _plan(seed=0):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(N) % K)

    def make(rows):
        order = rng.permutation(rows)
        cut = len(order) // 4
        pair = (np.sort(order[cut:]), np.sort(order[:cut]))
        return TrainingSet(rows, [pair], None)

    everything = np.arange(N)
    outer = [make(np.flatnonzero(label != j)) for j in range(K)]
    held_out = [np.flatnonzero(label == j) for j in range(K)]
    return NestedPlan(make(everything), outer, held_out, None, everything)


class Precise(LargeProblem):
    """Differences need double precision."""

    @property
    def fast(self):
        return self.design


def _guarded(rows=None, loss="softmax", rules="nats", **options):
    rows = _rows(loss) if rows is None else rows
    budget = LargeBudget(**options.pop("budget", {}))
    pair = LOSSES[loss], LOSSES[loss]
    rules = RULES.get(rules, rules)
    terms = GuardTerms(RowViews(rows), _plan(), rules, **options)
    return guarded_large(terms, *pair, None, budget)


@pytest.mark.parametrize("name", LOSSES)
def test_slope_agrees_with_central_differences(name):
    weight = np.random.default_rng(2).integers(1, 4, N).astype(float)
    rows = replace(_rows(name, weight=weight), standardize=True)
    problem = Precise.of(rows, LOSSES[name], LOSSES[name], None)
    assert len(problem.layout.lone) > 1
    rng = np.random.default_rng(0)
    Z = np.c_[np.ones(P), rng.standard_normal((P, 2))]
    pairs = [(np.arange(40, N), np.arange(40)), (np.arange(80), np.arange(80, N))]
    holdouts = [HoldOut.of(problem, pair, Shape(Z)) for pair in pairs]
    limits = {"reach": (-1.0, 1.0), "accuracy": (1e-11, 1e-11)}
    search = MetadataSearch(holdouts, -3.0, 0.0, LargeBudget(tuning=EXACT, **limits))
    beta = np.array([0.1, 0.4, -0.6])
    shift = Z @ beta
    assert (np.abs(shift) > 1.0).any()  # deviations are added outside the clip
    point = search.at(beta, None)
    slope = search.slope(beta, point, rows.n_penalized)
    for columns in (np.arange(P), problem.layout.lone):
        direction = np.zeros(P)
        direction[columns] = rng.standard_normal(len(columns))

        def value(step, direction=direction):
            moved = [replace(h, base=h.base + step * direction) for h in holdouts]
            return replace(search, holdouts=moved).at(beta, point.states).loss

        def slope_by(step, value=value):
            return (value(step) - value(-step)) / (2 * step)

        # Extrapolated, so that the third derivative does not count.
        expected = (4.0 * slope_by(1e-3) - slope_by(2e-3)) / 3.0
        assert slope @ direction == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_deviations_are_the_minimum_of_slope_and_hyperpenalty():
    rng = np.random.default_rng(0)
    slope, emphasis = rng.standard_normal(P), rng.random(P)
    emphasis[3] = slope[3] = 0.0
    found = Deviations.of(slope, emphasis, 0.5)
    assert np.abs(found.delta).max() == pytest.approx(0.5)
    gradient = slope + 2.0 * found.lam * emphasis * found.delta
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
    assert found.delta[3] == 0.0
    again = Deviations.of(1e5 * slope, 7.0 * emphasis, 0.5)
    np.testing.assert_allclose(again.delta, found.delta)
    none = Deviations.of(np.zeros(P), emphasis, 0.5)
    np.testing.assert_array_equal(none.delta, 0.0)
    assert none.in_units(1.0) == np.inf


def _held_out(gain, noise, n=2000):
    """Predictions of three candidates; the third one's loss gains over the second's."""
    rng = np.random.default_rng(0)
    shared = 1.0 + 0.3 * rng.standard_normal(n)
    metadata = shared - 0.05 + 0.1 * rng.standard_normal(n)
    difference = rng.standard_normal(n)
    difference -= difference.mean()
    losses = np.stack([shared, metadata, metadata - gain + noise * difference])
    losses -= min(0.0, losses.min())
    eta, y = np.sqrt(losses.T)[..., None], np.zeros((n, 1))
    return HeldOut(np.arange(n), eta, y, SquaredLoss(), 2.0, np.ones(n), np.arange(n))


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(
    ("gain", "noise", "taken"),
    [
        (0.01, 0.05, True),
        (-0.01, 0.05, False),
        (0.0, 0.0, False),
        (0.0, 0.05, False),
        (0.0005, 0.05, False),  # half a standard error
    ],
)
def test_deviations_take_the_place_of_metadata_where_they_gain(
    rules, gain, noise, taken
):
    held = _held_out(gain, noise)
    choice = choose_refined(RULES[rules], held)
    assert (choice.weight > 0).tolist() == [choice.weight[0] > 0, not taken, taken]
    assert choice.weight[1 + taken] > 0.5
    assert choice.weight[2 - taken] == 0.0
    expected = RULES[rules].choose(held.only([0, 1 + taken]))
    np.testing.assert_array_equal(choice.weight[[0, 1 + taken]], expected.weight)
    np.testing.assert_allclose(choice.loss, held.losses.mean(axis=1))


@pytest.mark.parametrize("name", LOSSES)
def test_where_they_do_not_gain_nothing_changes_and_nothing_is_evaluated(name):
    found, calls = [], []
    for largest in (0.0, 0.5):
        seen = []
        budget = {"deviation": largest, "trace": seen.append, "scored_rows": N}
        found.append(_guarded(loss=name, budget=budget))
        calls.append(len(seen))
    without, tried = found
    assert calls[0] == calls[1]
    assert tried.candidates.family == ("shared", "metadata", "deviations")
    np.testing.assert_array_equal(tried.choice.loss[:2], without.choice.loss)
    if tried.choice.weight[2] > 0:
        assert tried.choice.loss[2] < tried.choice.loss[1]
    else:
        np.testing.assert_array_equal(tried.coef, without.coef)
    best = int(np.argmax(tried.choice.weight))
    assert tried.loss <= tried.choice.loss[best] + 1e-12


def test_candidates_are_solved_as_far_as_each_other():
    found = _guarded(budget={"deviation": 1e-9, "scored_rows": N})
    assert found.choice.loss[0] != found.choice.loss[1]
    assert found.choice.loss[2] == pytest.approx(found.choice.loss[1], abs=1e-3)


def test_noise_does_not_get_them():
    taken = 0
    for seed in range(10):
        rows = _rows(seed=seed)
        y = np.random.default_rng(seed + 50).permutation(rows.y)
        found = _guarded(rows=replace(rows, y=y), budget={"scored_rows": N})
        taken += found.choice.weight[2] > 0.0
    assert taken <= 1


class Last(Averaging):
    """The last candidate is the best."""

    def choose(self, held):
        choice = super().choose(held)
        return replace(choice, weight=np.eye(len(choice.weight))[-1])


def test_what_is_published_is_where_they_are_taken():
    found = _guarded(rules=Last(nats=True))
    np.testing.assert_allclose(found.v, found.candidates.v[0, 2])
    shift = np.log(found.candidates.v[0, 2] / found.candidates.v[0, 1])
    assert np.abs(shift).max() == pytest.approx(0.5)
    assert np.isfinite(found.candidates.value[2])


@pytest.mark.parametrize("steps", [(8, 5), (0, 0)])
def test_labels_and_few_events_have_none(steps):
    members = np.arange(P) // 45 if steps[0] else None
    found = _guarded(members=members, budget={"steps": steps})
    assert found.candidates.family == ("shared", "groups" if steps[0] else "metadata")
    assert len(found.choice.loss) == len(found.candidates.value) == 2


def test_metadata_of_the_user_and_weights():
    Z = Metadata((np.arange(P) < 6).astype(float)[:, None])
    weight = np.random.default_rng(0).integers(0, 3, N).astype(float)
    found = _guarded(_rows(weight=weight), metadata=Z)
    assert len(found.choice.loss) == 3
    assert np.isfinite(found.coef).all()


@pytest.mark.parametrize(
    "model", [BilevelLogisticCV(), BilevelPoissonCV(), BilevelGammaCV()]
)
def test_estimators_report_them(model):
    n, p = 1100, 1200
    rng = np.random.default_rng(0)
    X = sparse.random(n, p, 0.01, format="csr", random_state=0)
    signal = X[:, :60].sum(axis=1)
    y = rng.poisson(np.exp(0.5 * np.asarray(signal).ravel())).astype(float)
    y = y > 1 if isinstance(model, BilevelLogisticCV) else y
    y = y + 0.5 if isinstance(model, BilevelGammaCV) else y
    found = model.fit(X, y).hyperpenalty_
    assert list(found["family"]) == ["shared", "metadata", "deviations"]
    assert found["alpha"].shape == (3, p)
    assert np.isfinite(found["score"]).all()
    assert found["weight"].sum() == pytest.approx(1.0)
