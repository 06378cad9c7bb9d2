"""Callbacks and Ctrl-C in a search over a pipeline."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelLogisticCV, BilevelRidgeCV, BilevelSearchCV

new = pytest.mark.skipif(
    not hasattr(BilevelRidgeCV, "set_callbacks"),
    reason="callbacks came with scikit-learn 1.9",
)
LAST = {
    "guard": BilevelRidgeCV(),
    "criterion": BilevelRidgeCV(hyperpenalty=None),
    "plain": Ridge(),
    "plain classifier": LogisticRegression(),
    "classifier": BilevelLogisticCV(hyperpenalty=None),
}


def draw(name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 6))
    y = X[:, 0] + 0.5 * rng.standard_normal(80)
    return X, y > 0 if "class" in name else y


class Watch:
    """Counts the ends of tasks, and stops at one of them."""

    def __init__(self, stop_at=None):
        self.stop_at, self.ends = stop_at, 0

    def setup(self, estimator, context):
        self.ends = 0

    def on_fit_task_begin(self, estimator, context, **kwargs):
        pass

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.ends += 1
        return self.ends == self.stop_at

    def teardown(self, estimator, context):
        pass


@new
@pytest.mark.parametrize("name", LAST)
def test_callbacks_watch_the_search_of_the_last_step(name):
    X, y = draw(name)
    search = BilevelSearchCV(make_pipeline(StandardScaler(), LAST[name]))
    plain = search.fit(X, y).predict(X)
    watch = Watch()
    np.testing.assert_array_equal(
        search.set_callbacks(watch).fit(X, y).predict(X), plain
    )
    assert watch.ends > 1


@new
def test_callbacks_stop_the_search():
    X, y = draw("criterion")
    search = BilevelSearchCV(make_pipeline(StandardScaler(), LAST["criterion"]))
    whole = search.fit(X, y).best_estimator_[-1].n_iter_
    search.set_callbacks(Watch(stop_at=2)).fit(X, y)
    assert search.best_estimator_[-1].n_iter_ < whole
    assert search.predict(X).shape == y.shape


@pytest.mark.parametrize("name", LAST)
def test_an_interrupted_search_predicts(name, interrupted):
    X, y = draw(name)
    search = BilevelSearchCV(make_pipeline(StandardScaler(), LAST[name]), verbose=1)
    search.fit(X, y)
    with interrupted(1):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")
    assert not hasattr(search, "best_score_")
    assert search.predict(X).shape == y.shape
    assert search.score(X, y) > 0.5


def test_a_search_that_is_interrupted_while_it_scores_predicts():
    X, y = draw("plain")

    def interrupt(model, X, y):
        raise KeyboardInterrupt

    search = BilevelSearchCV(LAST["plain"], scoring=interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert not hasattr(search, "cv_results_")
    assert search.best_estimator_.score(X, y) > 0.5
