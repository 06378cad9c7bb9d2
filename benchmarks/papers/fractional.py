"""FCD and PCD: ratios minimized coordinate by coordinate, and where that pays.

    python benchmarks/papers/fractional.py
    python benchmarks/papers/fractional.py --quick

Protocol. Random submatrices G of two of the four text sets of the paper (sector,
news20), of 1,024 rows and 1,024 or 2,048 columns that occur more than 20 times,
divided by the Frobenius norm. The paper's noise of 1e-5, which makes G dense, is left
out.

1. Independent components: ``|x|^2 / |G x|_4^2``, FCD beside the power method, which is
   what the paper's PGSA is on this problem. First from the same {STARTS} normal starts;
   then in equal time: as many power runs as fit into the time of one start of FCD, and
   power runs from single coordinates within the same time.
2. Sparse recovery: ``(0.5 |G w - y|^2 + lam |w|_1) / (lam |w|_top-100)``, 100-sparse
   normal truth, y with normal noise of a tenth of the norm of its signal, lam = 0.1/m,
   start 0.1 times normal. PCD (greedy) beside proximal Dinkelbach (ten gradient
   steps for every ratio): same start, then Dinkelbach for five times the time of PCD.
   Empty columns are left out: along one the ratio falls to 1 at once, with a model of
   nothing. Both as the paper scales G, and with columns of length one. At most 3,000
   steps of PCD.
3. What it is for: `FractionalSparseRegressor` where k is known, beside OMP, LassoCV and
   abess, means of {SEEDS} seeds (`benchmarks/sparse_recovery.py`).
4. Sources (Laplace) mixed at random: Amari distances and times, medians of 3 seeds.

{VERDICT}

Reference: G. Yuan (2023). Coordinate descent methods for fractional minimization. ICML.
The tables of the paper are not at hand; its stored curves show FCD at or below PGSA in
each of six settings, by factors of up to 2.9, from the same starts.
"""

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.extend(str(folder) for folder in Path(__file__).parents[:2])

import numpy as np
import scipy.sparse as sp
from _common import markdown, median, new_figure, options, write_figure, write_page
from _data import loader
from sklearn.decomposition import FastICA
from sparse_recovery import HEADER, measure

from skbilevel import FractionalICA
from skbilevel.fractional._ica import power
from skbilevel.problems import (
    FourthPowers,
    GramColumns,
    LeastSquaresL1,
    SquaredNorm,
    TopK,
)
from skbilevel.solvers import minimize_ratio

STARTS, SEEDS = 4, 6
SETS = ("sector", "news20_libsvm")
SHAPES = ((1024, 1024), (1024, 2048))
SWEEPS, TOL = 40, 1e-7
VERDICT = """What agrees. From the same starts FCD ends at one value on every matrix,
where single power runs scatter, by factors of up to four. As the paper scales G, PCD
ends at or below Dinkelbach in equal time.

What does not. In the time of one start of FCD, hundreds of power runs fit, and their
best is never worse, and lower once (11.1 beside 11.55); power runs from single
coordinates find the same. FCD's advantage vanishes under restarts. With columns of
length one PCD ends far above Dinkelbach in equal time: coordinate steps need many
sweeps where the squared error dominates the ratio. With the scaling of the paper the
ratio is close to its lower bound of 1, which it approaches by stretching coefficients
(thousands, where the truth is of the order of one), so that a low ratio is no good
model.

What it is good for. Started from the lasso and refitted, PCD finds features that OMP
and the lasso miss where columns are correlated or many, and loses where noise is as
strong as the signal. `FractionalSparseRegressor` also exchanges single features, which
is no part of the paper, and prefers that to PCD unless cross-validation is sure. With
these rules, chosen on other seeds, the support it finds is as good as the best of OMP,
LassoCV and abess in all five settings (four were aimed at), and so is its mean excess
error. abess, best-subset selection with k given, takes a hundredth of the time and
finds less in the second and fourth setting. L0Learn could not be installed.

To separate sources take FastICA: its symmetric versions have 0.4 to 0.7 of the Amari
distance of both solvers here, in a tenth of the time. FastICA one by one is level."""


def submatrix(name: str, m: int, n: int, seed: int = 0) -> sp.csr_array:
    """Random rows and frequent columns of a text set."""
    X, *_ = loader().load(name)
    X = sp.csr_array(X)
    rng = np.random.default_rng(seed)
    often = np.flatnonzero(np.bincount(X.indices, minlength=X.shape[1]) > 20)
    columns = np.sort(rng.choice(often, min(n, len(often)), replace=False))
    rows = np.sort(rng.choice(X.shape[0], m, replace=False))
    G = sp.csc_array(X)[:, columns].tocsr()[rows].astype(float)
    return sp.csr_array(G / sp.linalg.norm(G))


def components(G: sp.csr_array, starts: np.ndarray) -> dict[str, Any]:
    """Ends of both methods from the same starts, and in equal time."""
    num, den = SquaredNorm(), FourthPowers(G)
    ends: dict[str, list[float]] = {"FCD": [], "power": []}
    seconds = []
    for x0 in starts:
        began = perf_counter()
        end = minimize_ratio(num, den, x0, tol=TOL, max_iter=SWEEPS)
        seconds.append(perf_counter() - began)
        ends["FCD"].append(end.value)
        ends["power"].append(power(G, x0, 1e-10, 5000)[0])
    budget, rng = median(seconds), np.random.default_rng(99)
    random = within(
        budget, lambda k: power(G, rng.standard_normal(G.shape[1]), TOL, 5000)
    )
    norms = np.asarray(abs(G).power(4).sum(axis=0)).ravel()
    # A column may have no entry in these rows.
    order = np.argsort(-norms)[: int((norms > 0).sum())]
    unit = np.eye(1, G.shape[1])[0]
    single = within(
        budget, lambda k: power(G, np.roll(unit, order[k % len(order)]), TOL, 5000)
    )
    return {"ends": ends, "seconds": budget, "random": random, "single": single}


def within(budget: float, run: Any) -> tuple[float, int]:
    """The best of as many runs as fit, and their number."""
    began, best, k = perf_counter(), np.inf, 0
    while k == 0 or perf_counter() - began < budget:
        best, k = min(best, run(k)[0]), k + 1
    return best, k


def dinkelbach(
    G: Any, y: np.ndarray, lam: float, k: int, x: np.ndarray, stop: Any
) -> tuple[float, float]:
    """Ten proximal gradient steps for every c, with g linearized."""
    lipschitz = float(sp.linalg.svds(G, 1, return_singular_vectors=False)[0] ** 2)
    began, value = perf_counter(), np.inf
    while True:
        size = np.abs(x)
        top = np.argpartition(size, -k)[-k:]
        rest = G @ x - y
        before = value
        value = (0.5 * rest @ rest + lam * size.sum()) / (lam * size[top].sum())
        seconds = perf_counter() - began
        if stop(seconds, before - value <= 1e-10 * abs(value)):
            return float(value), seconds
        for _ in range(10):
            top = np.argpartition(np.abs(x), -k)[-k:]
            slope = G.T @ (G @ x - y)
            slope[top] -= value * lam * np.sign(x[top])
            step = x - slope / lipschitz
            x = np.sign(step) * np.maximum(np.abs(step) - lam / lipschitz, 0.0)


def recovery(G: sp.csr_array, k: int, unit: bool, seed: int = 0) -> list[float]:
    """Values and seconds of PCD, of Dinkelbach, and of a longer Dinkelbach."""
    rng = np.random.default_rng(seed)
    norms = sp.linalg.norm(G, axis=0)
    G = sp.csr_array(G[:, np.flatnonzero(norms)])
    if unit:
        G = sp.csr_array(G @ sp.diags_array(1.0 / norms[norms > 0]))
    m, p = G.shape
    truth = np.zeros(p)
    truth[rng.choice(p, k, replace=False)] = rng.standard_normal(k)
    y = G @ truth
    noise = rng.standard_normal(m)
    y = y + 0.1 * np.linalg.norm(y) * noise / np.linalg.norm(noise)
    x0, lam = 0.1 * rng.standard_normal(p), 0.1 / m
    began = perf_counter()
    part = LeastSquaresL1(GramColumns(G), G.T @ y, float(y @ y), lam)
    end = minimize_ratio(
        part, TopK(k, lam), x0, solver="pcd", rule="greedy", tol=1e-8, max_iter=3000
    )
    seconds = perf_counter() - began
    same = dinkelbach(G, y, lam, k, x0, lambda s, flat: flat or s > 5 * seconds)
    equal = dinkelbach(G, y, lam, k, x0, lambda s, flat: s > seconds)
    return [end.value, seconds, equal[0], *same]


def amari(unmixing: np.ndarray, mixing: np.ndarray) -> float:
    """Distance of the product to a permutation."""
    P = np.abs(unmixing @ mixing)
    rows = (P / P.max(axis=1, keepdims=True)).sum(axis=1) - 1.0
    columns = (P / P.max(axis=0)).sum(axis=0) - 1.0
    return float((rows.sum() + columns.sum()) / (2 * len(P) * (len(P) - 1)))


def sources(n: int, p: int, seeds: range) -> list[list[Any]]:
    """Amari distances and seconds of every method."""
    makers = {
        "FastICA, logcosh": lambda: FastICA(
            fun="logcosh", random_state=0, max_iter=1000
        ),
        "FastICA, cube": lambda: FastICA(fun="cube", random_state=0, max_iter=1000),
        "FastICA, cube, one by one": lambda: FastICA(
            algorithm="deflation", fun="cube", random_state=0, max_iter=1000
        ),
        "FractionalICA, power": lambda: FractionalICA(n_starts=3),
        "FractionalICA, fcd": lambda: FractionalICA(solver="fcd", n_starts=1, tol=1e-6),
    }
    lines, first = [], f"{n} x {p}"
    for name, make in makers.items():
        runs = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            mixing = rng.standard_normal((p, p))
            X = rng.laplace(size=(n, p)) @ mixing.T
            began = perf_counter()
            model = make().fit(X)
            seconds = perf_counter() - began
            runs.append((amari(model.components_, mixing), seconds))
        lines.append([first, name, *map(float, median(runs))])
        first = ""
    return lines


def draw(races: dict[str, Any]) -> Any:
    """Ends of all starts, over the best that was seen."""
    figure, axes = new_figure()
    for place, found in enumerate(races.values()):
        best = min(*found["ends"]["FCD"], found["random"][0], found["single"][0])
        for shift, (name, colour) in enumerate((("FCD", "C0"), ("power", "C1"))):
            ends = np.array(found["ends"][name]) / best
            x = np.full(len(ends), place - 0.12 + 0.24 * shift)
            label = f"{name}, same starts" if not place else None
            axes.plot(x, ends, "o", color=colour, alpha=0.6, label=label)
        label = "power, best in the time of one FCD" if not place else None
        low = min(found["random"][0], found["single"][0]) / best
        axes.plot(place, low, "k_", markersize=18, label=label)
    axes.set_xticks(range(len(races)), list(races), fontsize=8)
    axes.set_ylabel("ratio over the least that was seen")
    axes.legend()
    return figure


def main() -> None:
    """Run all four, print the page, write it unless --quick."""
    args = options(__doc__)
    sets, shapes = (SETS[:1], ((100, 50),)) if args.quick else (SETS, SHAPES)
    n_starts, k = (2, 10) if args.quick else (STARTS, 100)
    races, recovered = {}, []
    for name in sets:
        for m, n in shapes:
            G = submatrix(name, m, n)
            rng = np.random.default_rng(1)
            label = f"{name.split('_')[0]} {G.shape[0]} x {G.shape[1]}"
            starts = rng.standard_normal((n_starts, G.shape[1]))
            races[label] = components(G, starts)
            for unit in (False, True):
                scaled = f"{label}, {'length one' if unit else 'as in the paper'}"
                recovered.append([scaled, *recovery(G, k, unit)])
            print(label, file=sys.stderr)
    rows = [
        [
            label,
            *(f"{min(e):.4g} to {max(e):.4g}" for e in found["ends"].values()),
            float(found["seconds"]),
            *(
                f"{best:.4g} ({count})"
                for best, count in (found["random"], found["single"])
            ),
        ]
        for label, found in races.items()
    ]
    cases = ((500, 3),) if args.quick else ((2000, 5), (5000, 20))
    seeds = range(1 if args.quick else 3)
    separated = [line for n, p in cases for line in sources(n, p, seeds)]
    text = str(__doc__).split("\n\n", 2)[2]
    for name in ("STARTS", "SEEDS", "VERDICT"):
        text = text.replace("{" + name + "}", str(globals()[name]))
    page = "\n\n".join(
        [
            "# FCD and PCD",
            text,
            "![Ends of all starts](../_static/papers/fractional.png)",
            "## Independent components",
            markdown(
                [
                    "G",
                    "FCD, same starts",
                    "power, same starts",
                    "seconds of one FCD",
                    "power in that time (runs)",
                    "from single coordinates (runs)",
                ],
                rows,
            ),
            "## Sparse recovery: the ratio reached",
            markdown(
                [
                    "G",
                    "PCD",
                    "seconds",
                    "Dinkelbach, equal time",
                    "Dinkelbach, longer",
                    "its seconds",
                ],
                recovered,
            ),
            "## Regression on k features",
            markdown(HEADER, measure(1, 1) if args.quick else measure(SEEDS)),
            "## Separating sources",
            markdown(["sources", "method", "Amari distance", "seconds"], separated),
        ]
    )
    print(page)
    if not args.quick:
        write_page(args.out, "fractional", page)
        write_figure(args.out, "fractional", draw(races))


if __name__ == "__main__":
    main()
