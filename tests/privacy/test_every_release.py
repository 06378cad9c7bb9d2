"""Every release of every solver: how far it moves, and the noise that is drawn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from skbilevel import DPLasso, DPLogistic, DPRidge
from skbilevel.privacy._descents import Objective, _contraction
from skbilevel.privacy._noise import SeededRandomness, randomness
from skbilevel.privacy._releases import PrivateRows
from skbilevel.problems import SquaredLoss

SOLVERS = {
    DPRidge: ("moments", "preconditioned", "dp-cd", "dp-gd", "dp-sgd"),
    DPLasso: ("moments", "dp-cd", "dp-gd", "dp-sgd"),
    DPLogistic: ("preconditioned", "dp-cd", "dp-gd", "dp-sgd"),
}
EVERY = [(kind, solver) for kind, names in SOLVERS.items() for solver in names]
N, P = 12, 5


class Tape:
    """Records what leaves the rows in one fit, and plays it back in the next.

    With equal histories the values of two fits differ by what their rows differ in.
    """

    def __init__(self, patch):
        self.values, self.said, self.place, self.worst = [], [], None, 0.0
        noisy = PrivateRows.noisy

        def told(rows, value, size, multiplier):
            said = noisy(rows, value, size, multiplier)
            return self._leave(np.asarray(value), size, said)

        # What a release is without its noise, no fit may say.
        patch.setattr(PrivateRows, "noisy", told)

    def _leave(self, value, size, said):
        if self.place is None:
            self.values.append(value)
            self.said.append(said)
            return said
        moved = np.linalg.norm(np.ravel(value - self.values[self.place]))
        self.worst = max(self.worst, moved / size)
        self.place += 1
        return self.said[self.place - 1]


ROWS = (
    ([1e9] * P, [-1e9] * P),
    ([0.0] * P, [1e9, -1e9, 1e9, -1e9, 1e9]),
    ([1.0, 0, 0, 0, 0], [0, 0, 0, 0, -1.0]),
)


def neighbours(kind, rows):
    """Two data sets whose first rows are far apart."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (N, P)) * (rng.random((N, P)) < 0.5)
    y = rng.uniform(-1, 1, N)
    for world in (0, 1):
        Z, t = X.copy(), y.copy()
        Z[0], t[0] = rows[world], 1e9 * (-1.0) ** world
        yield Z, (t > 0).astype(int) if kind is DPLogistic else t


def repeated(Z):
    """CSR rows in which every entry stands fifty times."""
    i, j = np.nonzero(Z)
    i, j, v = (np.repeat(each, 50) for each in (i, j, Z[i, j]))
    start = np.append(0, np.cumsum(np.bincount(i, minlength=N)))
    return sparse.csr_array((v, j, start), shape=Z.shape)


FORMS = {"dense": np.asarray, "sparse": sparse.csr_array, "repeated": repeated}


@pytest.mark.parametrize(("kind", "solver"), EVERY)
@pytest.mark.parametrize("form", FORMS)
def test_no_release_moves_more_than_it_says(kind, solver, form):
    worst = []
    for rows in ROWS:
        for scale, norm in ((True, "auto"), (False, 0.8)):
            model = kind(5.0, 1e-3, solver=solver, scale=scale, row_norm=norm)
            steps = "auto" if solver == "moments" else 3
            model.set_params(n_passes=steps, random_state=1)
            with pytest.MonkeyPatch.context() as patch:
                tape = Tape(patch)
                for Z, t in neighbours(kind, rows):
                    model.fit(FORMS[form](Z), t)
                    tape.place = 0
            worst.append(tape.worst)
    assert 0.5 < max(worst) <= 1.0 + 1e-9


class Ones(SeededRandomness):
    """Noise of the size that is said."""

    def normal(self, shape):
        return np.ones(shape)


@pytest.mark.parametrize(("kind", "solver"), EVERY)
def test_noise_that_is_drawn_is_noise_in_the_ledger(kind, solver, monkeypatch):
    drawn, noisy = [], PrivateRows.noisy

    def told(rows, value, size, multiplier):
        ones = replace(rows, noise=Ones(rows.noise.generator))
        out = noisy(ones, np.zeros(np.shape(value)), size, multiplier)
        drawn.append(float(np.ravel(out)[0]))
        return np.asarray(value) + out

    # The same: with the value itself nobody could tell how much noise there is.
    monkeypatch.setattr(PrivateRows, "noisy", told)
    rng = np.random.default_rng(0)
    X, y = rng.uniform(-1, 1, (600, 3)), rng.uniform(-1, 1, 600)
    y = (y > 0).astype(int) if kind is DPLogistic else y
    steps = "auto" if solver == "moments" else 4
    model = kind(2.0, 1e-4, solver=solver, n_passes=steps, random_state=0).fit(X, y)
    said = [
        size * release.multiplier
        for release in model.privacy_ledger_.releases
        for _ in range(release.count)
        for size in np.atleast_1d(release.sensitivity)
    ]
    assert drawn == pytest.approx(said, rel=1e-9)


def test_a_step_brings_points_as_close_as_is_claimed():
    rng, n, norm = np.random.default_rng(0), 30, math.sqrt(3.0)
    X = rng.uniform(-1, 1, (n, 3))
    X[:, 2] = 0.0  # a direction without curvature attains the bound
    objective = Objective(SquaredLoss(), np.array([3.0, 5.0, 2.0]))
    rows = PrivateRows(X, rng.uniform(-1, 1, n), norm, randomness(0))
    smooth = objective.curvature * norm**2

    def step(w):
        grad = rows.gradient(objective.loss, w, 0.5 * norm, 0.0)
        return objective.after(w - grad / smooth, 1.0 / smooth, n)

    end, points = step(np.zeros(3)), [*np.eye(3), *rng.standard_normal((50, 3))]
    worst = max(np.linalg.norm(step(a) - end) / np.linalg.norm(a) for a in points)
    claimed = _contraction(objective, smooth, n)
    assert worst <= claimed + 1e-12
    assert worst == pytest.approx(claimed)
