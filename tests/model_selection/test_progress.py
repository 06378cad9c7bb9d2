"""How searches tell what they do, and what they have seen."""

import numpy as np
import pytest

from skbilevel.model_selection._criterion import OuterVector
from skbilevel.model_selection._progress import MappedListener, Progress
from skbilevel.model_selection._search import SearchHistory, later
from skbilevel.problems import SharedStrength
from skbilevel.solvers import IterInfo, Status


class Listener:
    """Stops at the second step."""

    def __init__(self):
        self.begun, self.steps = [], []

    def begin(self, n_steps):
        """Keep."""
        self.begun.append(n_steps)

    def step(self, step):
        """Keep; stop."""
        self.steps.append(step)
        return len(self.steps) == 2


def test_no_step_after_the_stop():
    """Who has stopped a search hears no more of it."""
    listener = Listener()
    progress = Progress(listener)
    progress.begin(7)
    assert [progress.tell(name, dict) for name in "abcd"] == [False, True, True, True]
    assert [step.name for step in listener.steps] == ["a", "b"]
    assert listener.begun == [7]
    assert progress.stopped


def test_nobody_listens():
    """Nothing is made."""
    progress = Progress(None)
    progress.begin(None)
    assert not progress.tell("a", lambda: pytest.fail("made without need"))


def test_results_are_finished_when_asked_for():
    """Words at once, results later."""
    listener, asked = Listener(), []
    other = MappedListener(
        listener, lambda x: asked.append(x) or 2 * x, lambda s: "words"
    )
    Progress(other).tell("a", lambda: 4)
    assert not asked
    assert listener.steps[0].text == "words"
    assert listener.steps[0].state() == 8


@pytest.mark.parametrize("judged", [False, True])
def test_course_keeps_the_best(judged):
    """The best theta by its value, or the last one by a judge."""
    listener = Listener()
    outer = OuterVector(SharedStrength(3), (np.full(1, -9.0), np.full(1, 9.0)))
    judge = (lambda theta: (0.5, theta)) if judged else None
    course = SearchHistory(Progress(listener), outer, 1, 3.0, 10.0, judge)
    theta = np.zeros(1)
    assert not course.on_iter(IterInfo(1, theta, 2.0, 0.3, 1e-2, seconds=1.0))
    theta += 1.0  # an algorithm may go on in the same array
    assert course.on_iter(IterInfo(2, theta, 3.0, 0.2, 1e-3, seconds=2.0))
    found = listener.steps[1].state()
    assert found.status is Status.STOPPED
    assert found.n_iter == 2
    assert found.loss == (0.5 if judged else 2.0)
    np.testing.assert_allclose(np.log(found.v), 1.0 if judged else 0.0)
    np.testing.assert_array_equal(found.history["seconds"], [11.0, 12.0])
    np.testing.assert_array_equal(found.history["value"], [2.0, 3.0])
    assert listener.steps[0].state().n_iter == 1


def test_solvers_without_a_clock():
    """Seconds are not known."""
    history = later({"value": np.ones(3)}, 2.0)
    assert np.isnan(history["seconds"]).all()
    assert history["seconds"].shape == (3,)
