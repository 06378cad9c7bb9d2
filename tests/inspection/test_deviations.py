"""DeviationsDisplay: every task of every effect, few or many of both."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import MetaLogistic, MetaRidge
from skbilevel.inspection import DeviationsDisplay


@pytest.fixture(scope="module")
def schools():
    """Rows with the school as a column, and targets; ``age`` differs, ``sex`` not."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    school = np.repeat(np.arange(15), 30)
    X = rng.standard_normal((450, 2)) + np.array([0.5, 0.0])
    slope = 1.0 + 0.8 * rng.standard_normal(15)
    y = slope[school] * X[:, 0] - X[:, 1] + rng.standard_normal(450)
    columns = {"age": X[:, 0], "school": school.astype(str), "sex": X[:, 1]}
    return pd.DataFrame(columns), y


def drawn(display):
    """Deviations by name of the effect, from the dots."""
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    x, y = display.ax_.lines[0].get_data()
    found = {name: np.sort(x[np.round(y) == k]) for k, name in enumerate(names)}
    return names, found


@pytest.mark.parametrize("kind", [MetaRidge, MetaLogistic])
def test_every_task_has_a_dot_in_every_effect(pyplot, schools, kind):
    X, y = schools
    target = y if kind is MetaRidge else y > np.median(y)
    model = kind(task="school", strengths="feature").fit(X, target)
    display = DeviationsDisplay.from_estimator(model)
    names, found = drawn(display)
    assert set(names) == {"(level)", "age", "sex"}
    assert names.index("age") < names.index("sex")
    expected = np.sort(model.coef_[:, 0] - model.centre_[0])
    assert_allclose(found["age"], expected)
    # The level is the prediction at the mean of the columns.
    middle = X[["age", "sex"]].mean().to_numpy()
    level = model.coef_ @ middle + model.intercept_
    centre = model.centre_ @ middle + model.centre_intercept_
    assert_allclose(found["(level)"], np.sort(level - centre), atol=1e-9)
    widths = [bar.get_width() for bar in display.ax_.patches]
    place = names.index("age")
    assert widths[place] == pytest.approx(2.0 * model.deviation_std_[0])
    text = [each.get_text() for each in display.ax_.texts]
    assert text[place].startswith(f"{model.centre_[0]:.3g} ±")
    assert "15 tasks" in display.ax_.get_legend_handles_labels()[1]


def test_shared_effects_are_said_to_be(pyplot, schools):
    X, y = schools
    model = MetaRidge(task="school", common=["sex"], fit_intercept=False)
    model = make_pipeline(model).fit(X, y)
    display = DeviationsDisplay.from_estimator(model)
    names, found = drawn(display)
    assert names == ["age", "sex"]
    assert not len(found["sex"]) or not found["sex"].any()
    assert display.ax_.texts[-1].get_text().endswith("in all tasks")


def test_many_tasks_and_effects(pyplot):
    rng = np.random.default_rng(0)
    std = np.linspace(1.0, 0.0, 50)
    display = DeviationsDisplay(
        std * rng.standard_normal((2400, 50)),
        std,
        centre=np.ones(50),
        feature_names=np.array([f"x{j}" for j in range(50)]),
    )
    figure, ax = pyplot.subplots()
    assert display.plot(ax=ax).figure_ is figure
    assert len(ax.get_yticks()) == 40
    assert "10 that differ less are left out" in ax.get_xlabel()
    dots = ax.lines[0]
    assert dots.get_rasterized()
    assert len(dots.get_xdata()) == 2400 * 40
    # The dots of an effect stay in its row.
    assert abs(dots.get_ydata() - np.round(dots.get_ydata())).max() < 0.4
    assert "2,400 tasks" in ax.get_legend_handles_labels()[1]


def test_other_models_have_no_deviations(pyplot, schools):
    X, y = schools
    model = make_pipeline(StandardScaler(), Ridge()).fit(X[["age", "sex"]], y)
    with pytest.raises(ValueError, match="one of MetaRidge and MetaLogistic"):
        DeviationsDisplay.from_estimator(model)
