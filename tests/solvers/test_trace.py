"""The lines of a history."""

import time

import numpy as np

from skbilevel.solvers._base import Trace


def test_lines_and_seconds():
    """Columns of one length; the clock began with the trace."""
    trace = Trace()
    trace.add(3.0, 0.5, 1e-2)
    time.sleep(0.02)
    trace.add(2.0, 0.1, 1e-3)
    history = trace.history()
    assert len(trace) == 2
    np.testing.assert_array_equal(history["value"], [3.0, 2.0])
    np.testing.assert_array_equal(history["tol"], [1e-2, 1e-3])
    assert history["seconds"][0] >= 0.0
    assert history["seconds"][1] >= history["seconds"][0] + 0.02
    assert trace.seconds == history["seconds"][1]


def test_who_is_told_may_stop():
    """The last line, with the theta that belongs to it."""
    seen = []
    trace = Trace(lambda info: seen.append(info) or info.n_iter == 2)
    for n_iter, value in ((1, 3.0), (2, 2.0)):
        trace.add(value, 0.0, 1e-2)
        assert trace.tell(n_iter, np.ones(2)) == (n_iter == 2)
    assert [info.value for info in seen] == [3.0, 2.0]
    assert seen[1].seconds == trace.seconds
    assert not Trace().tell(1, np.ones(2))
