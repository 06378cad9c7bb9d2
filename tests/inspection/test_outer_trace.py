"""OuterTraceDisplay: loss, gradient and tolerance of one search."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from skbilevel import BilevelRidgeCV
from skbilevel.inspection import OuterTraceDisplay
from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import SABA, minimize_bilevel


def with_seconds(model, seconds):
    """A copy of a model that has recorded seconds."""
    copy = BilevelRidgeCV(**model.get_params())
    vars(copy).update(vars(model))
    copy.history_ = {**model.history_, "seconds": seconds}
    return copy


def test_loss_gradient_and_tolerance(pyplot, searched):
    display = OuterTraceDisplay.from_estimator(searched)
    loss, gradient = display.axes_
    assert_array_equal(loss.lines[0].get_ydata(), searched.history_["value"])
    assert_array_equal(loss.lines[0].get_xdata(), np.arange(searched.n_iter_ + 1))
    curve, tolerance = gradient.lines
    assert_array_equal(curve.get_ydata(), searched.history_["grad_norm"])
    assert gradient.get_yscale() == "log"
    assert gradient.get_xlabel() == "outer step"
    # The search ended at the first gradient below this line.
    line = tolerance.get_ydata()[0]
    assert searched.history_["grad_norm"][-1] <= line
    assert (searched.history_["grad_norm"][:-1] > line).all()
    title = loss.get_title(loc="left")
    assert title.startswith(f"{searched.n_iter_} steps bring the loss from")
    assert title.endswith(": within the tolerance")
    display.grad_norm = 2.0 * display.grad_norm
    assert "not yet within" in display.plot().axes_[0].get_title(loc="left")


def test_seconds_where_they_were_recorded(pyplot, searched):
    seconds = np.cumsum(np.full(len(searched.history_["value"]), 0.25))
    model = with_seconds(searched, seconds)
    display = OuterTraceDisplay.from_estimator(model, x="seconds")
    assert_array_equal(display.axes_[0].lines[0].get_xdata(), seconds)
    assert display.axes_[1].get_xlabel() == "seconds"


def test_results_of_the_functional_door(pyplot):
    problem = OracleProblem(
        InnerOracles(
            value=lambda theta, w: 0.5 * ((w - theta) ** 2).sum(),
            grad=lambda theta, w: w - theta,
            hvp=lambda theta, w, d: d,
            cross=lambda theta, w, d: -d,
        ),
        OuterOracles(
            value=lambda theta, w: 0.5 * ((w - 1) ** 2).sum(),
            grad=lambda theta, w: w - 1,
        ),
        w0=np.zeros(2),
        theta0=np.zeros(2),
    )
    for name in ("auto", "amigo", "cg"):
        result = minimize_bilevel(problem, name, tol=1e-6)
        assert_allclose(result.theta, 1.0, atol=1e-5)
    display = OuterTraceDisplay.from_result(result, tol=1e-6)
    curve, line = display.axes_[1].lines
    assert_array_equal(curve.get_ydata()[:1], result.history["grad_norm"][:1])
    assert line.get_ydata()[0] == 1e-6 * result.history["value"][0]
    assert len(OuterTraceDisplay.from_result(result).axes_[1].lines) == 1


def test_no_seconds_no_such_axis(searched):
    history = {k: v for k, v in searched.history_.items() if k != "seconds"}
    display = OuterTraceDisplay(history["value"], history["grad_norm"])
    with pytest.raises(ValueError, match="did not record seconds"):
        display.plot(x="seconds")
    with pytest.raises(ValueError, match="x='hours' is not known"):
        display.plot(x="hours")


def test_the_guard_has_no_single_search(guarded):
    with pytest.raises(ValueError, match="Use GuardPathDisplay"):
        OuterTraceDisplay.from_estimator(guarded)


def test_other_estimators_have_no_search(diabetes):
    with pytest.raises(ValueError, match="Ridge has no history_"):
        OuterTraceDisplay.from_estimator(Ridge().fit(*diabetes))


def test_one_search_for_each_target(pyplot, diabetes):
    X, y = diabetes
    Y = np.column_stack([y, X["bmi"]])
    model = BilevelRidgeCV(
        hyperpenalty=("smooth", 1.0), alpha_per_target=True, cv=3
    ).fit(20.0 * X, Y)
    display = OuterTraceDisplay.from_estimator(model, target=1)
    assert_array_equal(display.value, model.history_[1]["value"])
    with pytest.raises(ValueError, match=r"target=2, but .* by 2 search"):
        OuterTraceDisplay.from_estimator(model, target=2)


def test_algorithms_on_batches_of_rows_have_no_such_tolerance(pyplot, diabetes):
    X, y = diabetes
    model = BilevelRidgeCV(hyperpenalty=None, solver=SABA(max_passes=20), cv=3)
    display = OuterTraceDisplay.from_estimator(model.fit(20.0 * X, y))
    assert display.tolerance is None
    assert len(display.axes_[1].lines) == 1


def test_a_gradient_of_zero_has_no_logarithm(pyplot):
    display = OuterTraceDisplay(np.ones(1), np.zeros(1), tolerance=1e-4).plot()
    display.figure_.canvas.draw()
    assert "zero" in display.axes_[1].texts[0].get_text()


def test_one_given_ax_is_divided_and_two_are_used(pyplot, searched):
    figure, ax = pyplot.subplots()
    display = OuterTraceDisplay.from_estimator(searched, ax=ax)
    assert display.figure_ is figure
    assert not ax.axison
    assert len(figure.axes) == 3
    _, both = pyplot.subplots(2, 1)
    display = OuterTraceDisplay.from_estimator(searched, ax=both)
    assert list(display.axes_) == list(both)
    _, three = pyplot.subplots(3)
    with pytest.raises(ValueError, match="ax holds 3 Axes; give 2 or one"):
        OuterTraceDisplay.from_estimator(searched, ax=three)
    loose = pyplot.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="cannot be divided"):
        OuterTraceDisplay.from_estimator(searched, ax=loose)
