"""Before scikit-learn 1.9: no callbacks, all the rest."""

import subprocess
import sys

PROGRAM = """
import sys
import sklearn.linear_model, sklearn.pipeline, sklearn.utils.parallel
from sklearn.datasets import load_diabetes

known = sys.modules.pop("sklearn.callback", None)
sys.modules["sklearn.callback"] = None
from skbilevel import BilevelRidgeCV
sys.modules.pop("sklearn.callback")
if known is not None:
    sys.modules["sklearn.callback"] = known

X, y = load_diabetes(return_X_y=True)
model = BilevelRidgeCV(hyperpenalty=None, verbose=1).fit(X, y)
assert not hasattr(model, "set_callbacks")
assert not hasattr(model, "_init_callback_context")
print(model.n_iter_)
model = BilevelRidgeCV(verbose=1).fit(X, y)
"""


def test_stand_in():
    """The same lines are printed; nobody can set a callback."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    n_iter = [line for line in lines if line.isdigit()]
    assert sum("iteration" in line for line in lines) == int(n_iter[0])
    assert any("candidates of the full data: evidence" in line for line in lines)
    assert "candidates of 11 of 11 training sets" in lines[-1]
