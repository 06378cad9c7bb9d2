"""Weights, groups and offsets reach fit, splitter and scorer, and only their own rows.

Weights and targets are different in every row, so that each tells which row it is of.
A further estimator needs one line in ``CASES``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score, make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelGammaCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
)
from skbilevel._sklearn_compat import _routing_enabled

N_ROWS, N_GROUPS = 72, 12
# Older releases pass over weights that a scorer was not asked about, and do not bring
# those of a search to the score of its estimator.
STRICT = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
# The best strength of so few rows may well be an end of its range.
pytestmark = pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")


@dataclass(frozen=True)
class Case:
    """An estimator with few numbers to tune, and the metadata that it takes."""

    make: Callable[..., Any]
    offset: bool = False

    def model(self, **params: Any) -> Any:
        fast = {"feature_groups": "shared"}
        # An l1 penalty is tuned behind transformers by the guard alone.
        fast |= {} if self.make is BilevelLassoCV else {"hyperpenalty": None}
        return self.make(**fast | {"cv": Splitter(3)} | params)

    def asking(self, meta: dict[str, Any], **params: Any) -> Any:
        """Ask for all metadata that the estimator takes, where routing is on."""
        model = self.model(**params)
        if _routing_enabled():
            own = {key: True for key in meta if key != "groups"}
            model.set_fit_request(**own).set_score_request(**own)
        return model

    def builtin(self) -> str:
        return "accuracy" if is_classifier(self.make()) else "r2"


def coef(model: Any) -> Any:
    """Coefficients of an estimator, of a search, or of the last step of a pipeline."""
    model = getattr(model, "best_estimator_", model)
    return model[-1].coef_ if isinstance(model, Pipeline) else model.coef_


CASES = {
    "ridge": Case(BilevelRidgeCV),
    "lasso": Case(BilevelLassoCV),
    "ridge classifier": Case(BilevelRidgeClassifierCV),
    "logistic": Case(BilevelLogisticCV),
    "poisson": Case(BilevelPoissonCV, offset=True),
    "gamma": Case(BilevelGammaCV, offset=True),
    "tweedie": Case(BilevelTweedieCV, offset=True),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_log_linear = pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.offset]
)
# What was seen during a test; copies of splitters and scorers share it.
SEEN: dict[str, list[Any]] = {"split": [], "score": []}


class Splitter(GroupKFold):
    """Folds of whole groups that write down what they are asked to split."""

    def split(self, X, y=None, groups=None):
        SEEN["split"].append((np.asarray(X), np.asarray(groups)))
        return super().split(X, y, groups)


def recorded(y, predicted, sample_weight=None, tag=None):
    """Score, and write down the metadata."""
    SEEN["score"].append((np.asarray(y), sample_weight, tag))
    metric = accuracy_score if y.dtype.kind in "US" else mean_absolute_error
    return metric(y, predicted, sample_weight=sample_weight)


@pytest.fixture(autouse=True)
def _nothing_seen():
    for calls in SEEN.values():
        calls.clear()


@pytest.fixture
def routing():
    """Switch metadata routing on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def draw(case):
    """Draw X, y and metadata; no two rows have the same weight."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, 4))
    eta = X[:, 0] + rng.standard_normal(N_ROWS)
    y = np.exp(eta / 2) + 0.1
    if is_classifier(case.make()):
        y = np.where(eta > 0, "yes", "no")
    meta = {
        "sample_weight": rng.permutation(np.linspace(0.5, 2.0, N_ROWS)),
        "groups": rng.permutation(np.arange(N_ROWS) % N_GROUPS),
    }
    if case.offset:
        meta["offset"] = rng.normal(0, 0.5, N_ROWS)
    return X, y, meta


def rows_of(values, of):
    """Row numbers from numbers that differ in every row."""
    order = np.argsort(of)
    rows = order[np.searchsorted(of[order], values)]
    np.testing.assert_array_equal(of[rows], values)
    return rows


def part(meta, rows):
    return {key: value[rows] for key, value in meta.items()}


def scorer(**requests):
    made = make_scorer(recorded)
    return made.set_score_request(**requests) if requests else made


def check_splits(X, groups, *, rows=None):
    """Assert that every split saw the labels of the rows it was asked to split."""
    assert SEEN["split"]
    for seen, labels in SEEN["split"]:
        index = rows_of(seen[:, 0], X[:, 0])
        np.testing.assert_array_equal(labels, groups[index])
        if rows is not None:
            np.testing.assert_array_equal(index, rows)


def check_scores(y, meta):
    """Assert that scores got weights of their rows; return the rows of each call."""
    assert SEEN["score"]
    calls = []
    for seen, weight, _ in SEEN["score"]:
        rows = rows_of(weight, meta["sample_weight"])
        np.testing.assert_array_equal(seen, y[rows])
        calls.append(rows)
    return calls


# --- a fit by itself


@each_case
@pytest.mark.parametrize("on", [False, True])
def test_fit_gives_groups_to_the_splitter_and_weights_to_the_scorer(case, on):
    X, y, meta = draw(case)
    with sklearn.config_context(enable_metadata_routing=on):
        scoring = scorer(sample_weight=True) if on else scorer()
        case.asking(meta, scoring=scoring).fit(X, y, **meta)
    check_splits(X, meta["groups"], rows=np.arange(N_ROWS))
    calls = check_scores(y, meta)
    # Every row is held out once, with its whole group.
    np.testing.assert_array_equal(np.sort(np.concatenate(calls)), np.arange(N_ROWS))
    labels = [set(meta["groups"][rows]) for rows in calls]
    assert sum(map(len, labels)) == len(set.union(*labels)) == N_GROUPS


@each_case
def test_the_guard_gives_groups_to_the_splitter_both_times(case, routing):
    X, y, meta = draw(case)
    cv = Splitter(3, shuffle=True, random_state=0)
    model = case.make(cv=cv, scoring=scorer(sample_weight=True))
    model.fit(X, y, **meta)
    check_splits(X, meta["groups"], rows=np.arange(N_ROWS))
    check_scores(y, meta)
    assert len(SEEN["split"]) == 2  # once more with another seed


@each_case
@pytest.mark.parametrize("cv", [None, 3])
def test_groups_without_a_splitter_make_folds_of_groups(case, cv, routing):
    X, y, meta = draw(case)
    # Folds that are made here count weights as rows, GroupKFold does not.
    meta.pop("sample_weight", None)
    cv_of_groups = GroupKFold(5 if cv is None else cv)
    expected = case.asking(meta, cv=cv_of_groups).fit(X, y, **meta)
    found = case.asking(meta, cv=cv).fit(X, y, **meta)
    np.testing.assert_array_equal(coef(found), coef(expected))


@each_case
def test_the_scorer_gets_further_metadata(case, routing):
    X, y, meta = draw(case)
    tag, own = np.arange(N_ROWS), {"sample_weight": True, "tag": True}
    model = case.asking(meta, scoring=scorer(**own)).fit(X, y, tag=tag, **meta)
    for rows, (_, _, seen) in zip(check_scores(y, meta), SEEN["score"], strict=True):
        np.testing.assert_array_equal(seen, rows)
    SEEN["score"].clear()
    del meta["groups"]
    model.score(X, y, tag=tag, **meta)
    np.testing.assert_array_equal(SEEN["score"][0][2], tag)
    check_scores(y, meta)


@each_case
@pytest.mark.parametrize("cv", ["loo", 3])
def test_metadata_that_are_no_rows_are_passed_as_they_are(case, cv, routing):
    if cv == "loo" and case is CASES["lasso"]:
        pytest.skip("an l1 penalty has no closed form")
    X, y, _ = draw(case)
    case.model(cv=cv, scoring=scorer(tag=True)).fit(X, y, tag="all")
    assert {tag for _, _, tag in SEEN["score"]} == {"all"}


@each_log_linear
def test_a_scorer_can_ask_for_the_offset(case, routing):
    X, y, meta = draw(case)
    offsets = []

    def seen(y, predicted, offset):
        offsets.append(offset)
        return 0.0

    scoring = make_scorer(seen).set_score_request(offset=True)
    model = case.model(scoring=scoring)
    model.fit(X, y, groups=meta["groups"], offset=meta["offset"])
    held_out = np.sort(np.concatenate(offsets))
    np.testing.assert_array_equal(held_out, np.sort(meta["offset"]))
    model.score(X, y, offset=meta["offset"])
    np.testing.assert_array_equal(offsets[-1], meta["offset"])


# --- inside scikit-learn's own estimators and functions


@each_case
@pytest.mark.parametrize("on", [False, True])
def test_pipeline(case, on):
    X, y, meta = draw(case)
    scaler = StandardScaler().fit(X)
    expected = case.model().fit(scaler.transform(X), y, **meta)
    SEEN["split"].clear()
    with sklearn.config_context(enable_metadata_routing=on):
        if on:
            unweighted = StandardScaler().set_fit_request(sample_weight=False)
            pipe = make_pipeline(unweighted, case.asking(meta))
            pipe.fit(X, y, **meta)
            del meta["groups"]
            score = pipe.score(X, y, **meta)
        else:
            pipe = make_pipeline(StandardScaler(), case.model())
            name = pipe.steps[-1][0]
            groups = meta["groups"]
            pipe.fit(X, y, **{f"{name}__{key}": v for key, v in meta.items()})
            np.testing.assert_array_equal(SEEN["split"][0][1], groups)
            del meta["groups"]
            # Without routing a Pipeline passes on weights only.
            meta.pop("offset", None)
            score = pipe.score(X, y, **meta)
    np.testing.assert_array_equal(coef(pipe), coef(expected))
    assert score == expected.score(scaler.transform(X), y, **meta)


def expected_folds(case, X, y, meta, outer):
    """Models of the folds, each fitted on its own rows by hand, and held-out rows."""
    for train, test in outer.split(X, y, meta["groups"]):
        yield case.asking(meta).fit(X[train], y[train], **part(meta, train)), test


@each_case
def test_cross_validate(case, routing):
    X, y, meta = draw(case)
    outer = GroupKFold(4)
    expected = list(expected_folds(case, X, y, meta, outer))
    SEEN["split"].clear()
    model = case.asking(meta)
    found = cross_validate(model, X, y, cv=outer, params=meta, return_estimator=True)
    own = {key: value for key, value in meta.items() if key != "groups"}
    for model, score, (by_hand, test) in zip(
        found["estimator"], found["test_score"], expected, strict=True
    ):
        np.testing.assert_array_equal(coef(model), coef(by_hand))
        assert score == by_hand.score(X[test], y[test], **part(own, test))
    check_splits(X, meta["groups"])
    scores = cross_val_score(clone(found["estimator"][0]), X, y, cv=outer, params=meta)
    np.testing.assert_array_equal(scores, found["test_score"])


@each_case
def test_cross_validate_without_routing(case):
    # Metadata go to fit only then, and its own groups to the outer splitter.
    X, y, meta = draw(case)
    outer = GroupKFold(4)
    found = cross_validate(
        case.model(),
        X,
        y,
        cv=outer,
        groups=meta["groups"],
        params=meta,
        return_estimator=True,
    )
    expected = expected_folds(case, X, y, meta, outer)
    for model, (by_hand, _) in zip(found["estimator"], expected, strict=True):
        np.testing.assert_array_equal(coef(model), coef(by_hand))
    check_splits(X, meta["groups"])


@each_case
def test_cross_validate_with_a_scorer_inside_and_one_outside(case, routing):
    X, y, meta = draw(case)
    outer = GroupKFold(4)
    model = case.asking(meta, scoring=scorer(sample_weight=True))
    cross_validate(model, X, y, cv=outer, params=meta)
    inside = check_scores(y, meta)
    assert len(inside) == 4 * (3 + 1)
    for k, (train, test) in enumerate(outer.split(X, y, meta["groups"])):
        *folds, last = inside[4 * k : 4 * k + 4]
        np.testing.assert_array_equal(np.sort(np.concatenate(folds)), train)
        np.testing.assert_array_equal(last, test)
    SEEN["score"].clear()
    outside = scorer(sample_weight=True)
    model = case.asking(meta)
    cross_validate(model, X, y, cv=outer, params=meta, scoring=outside)
    np.testing.assert_array_equal(
        np.sort(np.concatenate(check_scores(y, meta))), np.arange(N_ROWS)
    )


@each_case
def test_nested_grid_search(case, routing):
    X, y, meta = draw(case)
    search = GridSearchCV(
        case.asking(meta),
        {"hyperpenalty": [None, ("smooth", 10.0)]},
        cv=GroupKFold(3),
        error_score="raise",
    )
    outer = GroupKFold(2)
    found = cross_validate(
        search, X, y, cv=outer, params=meta, return_estimator=True, error_score="raise"
    )
    check_splits(X, meta["groups"])
    own = {key: value for key, value in meta.items() if key != "groups"}
    for fitted, score, (train, test) in zip(
        found["estimator"],
        found["test_score"],
        outer.split(X, y, meta["groups"]),
        strict=True,
    ):
        best = clone(fitted.best_estimator_)
        best.fit(X[train], y[train], **part(meta, train))
        np.testing.assert_array_equal(coef(fitted), coef(best))
        if STRICT:
            assert score == best.score(X[test], y[test], **part(own, test))


@each_case
def test_a_number_of_folds_takes_groups_on_request(case, routing):
    X, y, meta = draw(case)
    model = case.asking(meta, cv=3)
    asking = clone(model).set_fit_request(groups=True)
    outer = GroupKFold(4)
    plain, grouped = (
        cross_validate(m, X, y, cv=outer, params=meta, return_estimator=True)
        for m in (model, asking)
    )
    train, _ = next(outer.split(X, y, meta["groups"]))
    rows = part(meta, train)
    by_hand = case.asking(meta, cv=3).fit(X[train], y[train], **rows)
    np.testing.assert_array_equal(coef(grouped["estimator"][0]), coef(by_hand))
    del rows["groups"]
    by_hand = case.asking(meta, cv=3).fit(X[train], y[train], **rows)
    np.testing.assert_array_equal(coef(plain["estimator"][0]), coef(by_hand))


# --- what is not asked for is refused


@each_case
def test_metadata_that_are_not_requested(case, routing):
    X, y, meta = draw(case)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        cross_validate(case.model(), X, y, cv=GroupKFold(3), params=meta)
    weighted = case.model().set_fit_request(sample_weight=True)
    with pytest.raises(UnsetMetadataPassedError, match=r"score|offset"):
        cross_validate(weighted, X, y, cv=GroupKFold(3), params=meta)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        make_pipeline(StandardScaler(), case.model()).fit(X, y, **meta)
    if STRICT:
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            case.model(scoring=case.builtin()).fit(X, y, **meta)


@each_case
@pytest.mark.parametrize("on", [False, True])
def test_metadata_that_nobody_knows(case, on):
    X, y, meta = draw(case)
    fitted = case.model().fit(X, y, **meta)
    with sklearn.config_context(enable_metadata_routing=on):
        for model in (case.model(), case.model(scoring=case.builtin())):
            with pytest.raises((TypeError, ValueError), match="tag"):
                model.fit(X, y, groups=meta["groups"], tag=1)
        for scoring in (None, case.builtin()):
            with pytest.raises((TypeError, ValueError), match="tag"):
                fitted.set_params(scoring=scoring).score(X, y, tag=1)


@each_case
def test_groups_for_a_splitter_that_does_not_want_them(case, routing):
    X, y, meta = draw(case)
    with pytest.raises(TypeError, match=r"cv=KFold\(.* does not ask for them"):
        case.model(cv=KFold(3)).fit(X, y, **meta)


# --- BilevelSearchCV


def searched(case, meta, on, *, scaled=True, scoring=None, **params):
    """A search over the model, with or without transformers in front of it."""
    model = case.asking(meta, cv=None, **params)
    if scaled:
        scaler = StandardScaler()
        scaler = scaler.set_fit_request(sample_weight=False) if on else scaler
        model = make_pipeline(scaler, model)
    return BilevelSearchCV(model, cv=Splitter(3), scoring=scoring)


@each_case
@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_search_gives_everyone_their_rows(case, on, scaled):
    X, y, meta = draw(case)
    with sklearn.config_context(enable_metadata_routing=on):
        scoring = scorer(sample_weight=True) if on else scorer()
        search = searched(case, meta, on, scaled=scaled, scoring=scoring)
        search.fit(X, y, **meta)
    check_splits(X, meta["groups"], rows=np.arange(N_ROWS))
    calls = check_scores(y, meta)
    np.testing.assert_array_equal(np.sort(np.concatenate(calls)), np.arange(N_ROWS))
    if not scaled:
        by_hand = case.model().fit(X, y, **meta)
        np.testing.assert_array_equal(coef(search), coef(by_hand))


@each_case
@pytest.mark.parametrize("on", [False, True])
def test_default_scores_of_a_search_know_weights_and_offsets(case, on):
    """Those of the folds are what ``score`` of their models gives with all metadata."""
    X, y, meta = draw(case)
    models = []

    def keep(model, X, y, **metadata):
        models.append(model)
        return 0.0

    searched(case, meta, False, scaled=False, scoring=keep).fit(X, y, **meta)
    with sklearn.config_context(enable_metadata_routing=on):
        table = searched(case, meta, on, scaled=False).fit(X, y, **meta).cv_results_
    own = {key: value for key, value in meta.items() if key != "groups"}
    folds = GroupKFold(3).split(X, y, meta["groups"])
    for k, ((_, test), model) in enumerate(zip(folds, models, strict=True)):
        wanted = model.score(X[test], y[test], **part(own, test))
        assert table[f"split{k}_test_score"][0] == pytest.approx(wanted, rel=1e-9)
        assert wanted != model.score(X[test], y[test])


@each_case
def test_search_inside_cross_validate(case, routing):
    X, y, meta = draw(case)
    outer = GroupKFold(4)
    search = searched(case, meta, True, scoring=scorer(sample_weight=True))
    found = cross_validate(search, X, y, cv=outer, params=meta, return_estimator=True)
    check_splits(X, meta["groups"])
    if STRICT:
        check_scores(y, meta)
    folds = outer.split(X, y, meta["groups"])
    for fitted, (train, _) in zip(found["estimator"], folds, strict=True):
        again = clone(search).fit(X[train], y[train], **part(meta, train))
        np.testing.assert_array_equal(coef(fitted), coef(again))


@pytest.mark.parametrize("on", [False, True])
def test_a_search_with_a_number_of_folds_takes_groups(on):
    X, y, meta = draw(CASES["ridge"])
    with sklearn.config_context(enable_metadata_routing=on):
        model = make_pipeline(StandardScaler(), CASES["ridge"].model(cv=None))
        found = BilevelSearchCV(model, cv=3).fit(X, y, groups=meta["groups"])
    by_hand = BilevelSearchCV(model, cv=GroupKFold(3)).fit(X, y, groups=meta["groups"])
    np.testing.assert_array_equal(coef(found), coef(by_hand))
    weight = meta["sample_weight"]
    assert found.score(X, y) != by_hand.score(X, y, sample_weight=weight)


@each_case
def test_search_refuses_what_is_not_requested(case, routing):
    X, y, meta = draw(case)
    plain = BilevelSearchCV(make_pipeline(StandardScaler(), case.model()))
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        plain.fit(X, y, sample_weight=meta["sample_weight"])


def test_transformers_of_the_folds_get_the_weights_of_their_rows(routing):
    X, y, meta = draw(CASES["ridge"])
    seen = []

    class Weighted(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            seen.append(rows_of(sample_weight, meta["sample_weight"]))
            return super().fit(X, y, sample_weight)

    scaler = Weighted().set_fit_request(sample_weight=True)
    model = CASES["ridge"].model(cv=None).set_fit_request(sample_weight=False)
    model.set_score_request(sample_weight=False)
    search = BilevelSearchCV(
        make_pipeline(scaler, model),
        cv=Splitter(3),
        scoring=scorer(sample_weight=False),
    )
    search.fit(X, y, sample_weight=meta["sample_weight"], groups=meta["groups"])
    wanted = [a for a, _ in GroupKFold(3).split(X, y, meta["groups"])]
    for found, rows in zip(seen, [np.arange(N_ROWS), *wanted], strict=True):
        np.testing.assert_array_equal(found, rows)
