"""AmIGO and its baselines: quadratics, and 20 Newsgroups with a strength per word.

    python benchmarks/papers/amigo.py
    python benchmarks/papers/amigo.py --quick
    python benchmarks/papers/amigo.py --min-df 1        # all 130,107 words

Quadratics. dim x = 2000 and dim y = 1000, conditioning 10, 100 and 1000 of a strongly
convex inner problem with L = 1 (the released toy is singular), outer conditioning
below 20 for all. T inner steps of gradient descent and N steps for the adjoint,
T = N = 10 (figure) or 1, step 1/L. Fixed outer steps, the best of two for every
method. What counts is ``F(x_k) - F*`` against oracle calls: gradients, Hessian and
cross products of either level cost one each.

20 Newsgroups. Counts by date with headers and footers, tf-idf, words in at least five
of the training documents; training rows in stratified halves, test rows by date.
Softmax, mean losses, ``0.5 sum_j alpha_j |W_j|^2`` inside, alpha_j = 1e-4 at the start,
in [1e-7, 0.1] (the released script trains with a penalty of zero). T = N = 3, gradient
steps of one length in log alpha for all, tuned for AmIGO-CG among 1e3 and 1e4. Time
is CPU time of one thread without that of looking; every method has the same budget.

Agrees, on the quadratics: with both warm starts the gap falls to rounding where the
budget allows, without one of them it stops far above, the more so the worse the
conditioning. CG in place of GD matters where conditioning is poor and T = N = 10, and
not with one step of each. AID-N and ITD end at the same gap.

Agrees, on the text: of the methods with one step length on all rows, AmIGO-CG reaches
the lowest validation loss at the theta that it found, then AID-CG, AmIGO-GD, and far
behind those whose adjoint is a short series from zero. With three steps and CG, the
warm start of the adjoint matters less than that of w.

Does not agree: at the w that the algorithms hold, which is what the paper plots,
AmIGO-CG is not the lowest. Its strengths move faster than three inner steps follow.
And test accuracy falls while validation loss falls: 25,941 strengths are fitted to
5,657 validation rows. A step length for each word changes more than any hypergradient:
AmIGO-CG with Adam ends lower than all, and SOBA with own steps, its default here,
lower than all with one. SABA with own steps does not, after as many passes (54, and
55 of SOBA).

Reference: M. Arbel, J. Mairal (2022). Amortized Implicit Differentiation for
Stochastic Bilevel Optimization. ICLR.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.extend(str(folder) for folder in Path(__file__).parents[:2])

import numpy as np
from _common import DOC, markdown, new_figure, write_figure, write_page
from _news import News, Watch, load_news
from _quadratics import Quadratic
from _stocbio import StocBiO

from skbilevel.solvers import (
    ORACLE_SOLVERS,
    Adam,
    ConjugateGradient,
    DoubleLoop,
    GradientDescent,
    GradientSteps,
    ImplicitGradient,
    NeumannSeries,
    Newton,
    ProjectedGradient,
    minimize_bilevel,
)
from skbilevel.solvers._oracle_base import metric_norm, metric_of
from skbilevel.solvers.hypergradient import FixedPoint, Unrolled

KAPPAS = (10.0, 100.0, 1000.0)
OUTER_STEPS = (0.5, 0.1)
NEWS_STEP, BATCH = 1e3, 512
BOTH, INNER, ADJOINT = ("inner", "adjoint"), ("inner",), ("adjoint",)


def methods(T: int, N: int, outer: ProjectedGradient) -> dict[str, DoubleLoop]:
    """Return AmIGO and the settings that it is compared with."""
    steps = GradientDescent(n_iter=T)
    kept = GradientDescent(n_iter=T, keep=True)
    conjugate = ImplicitGradient(ConjugateGradient(n_iter=N))
    gradient = ImplicitGradient(GradientSteps(n_iter=N))
    series = ImplicitGradient(NeumannSeries(N))
    fixed = ImplicitGradient(FixedPoint(N, momentum=0.5))
    return {
        "AmIGO-CG": DoubleLoop(steps, conjugate, outer, BOTH),
        "AmIGO-GD": DoubleLoop(steps, gradient, outer, BOTH),
        "AID-CG": DoubleLoop(steps, conjugate, outer, INNER),
        "AID-N (= AID-GD)": DoubleLoop(steps, series, outer, INNER),
        "AID-FP": DoubleLoop(steps, fixed, outer, INNER),
        "AID-CG-WS": DoubleLoop(steps, conjugate, outer, ADJOINT),
        "CG, no warm start": DoubleLoop(steps, conjugate, outer, ()),
        "ITD": DoubleLoop(kept, Unrolled(), outer, INNER),
        "Reverse": DoubleLoop(kept, Unrolled(), outer, ()),
    }


class Gaps:
    """Suboptimality against oracle calls, up to a budget of them."""

    def __init__(self, quadratic: Quadratic, budget: float) -> None:
        self.quadratic, self.budget = quadratic, budget
        self.lines = [(0.0, quadratic.gap(np.zeros(quadratic.n_outer)))]

    def __call__(self, info: Any) -> bool:
        """Note a line; True once the budget is spent, or the iterates diverge."""
        # A pass is one call at either level.
        calls, gap = 2 * info.passes, self.quadratic.gap(info.theta)
        self.lines.append((calls, gap))
        return calls > self.budget or not gap < 1e8


def quadratics(
    T: int, kappas: tuple[float, ...], sizes: tuple[int, int], budget: float
) -> dict[float, dict[str, np.ndarray]]:
    """Return lines (calls, gap) of every method, at its best outer step."""
    out: dict[float, dict[str, np.ndarray]] = {}
    for kappa in kappas:
        quadratic = Quadratic(kappa, *sizes)
        out[kappa] = {}
        for name in methods(T, T, ProjectedGradient()):
            runs = []
            for step in OUTER_STEPS:
                loop = methods(T, T, ProjectedGradient(step=step))[name]
                gaps = Gaps(quadratic, budget)
                minimize_bilevel(
                    quadratic.problem(),
                    loop,
                    tol=0.0,
                    max_iter=10**6,
                    on_iter=gaps,
                    final_tol=None,
                )
                runs.append(np.array(gaps.lines))
            out[kappa][name] = min(runs, key=lambda lines: lines[-1, 1])
    return out


def contenders(T: int, n_words: int) -> dict[str, Any]:
    """Return the methods of the text, those on batches where they exist."""
    found: dict[str, Any] = dict(methods(T, T, ProjectedGradient(step=NEWS_STEP)))
    found["AmIGO-CG, Adam"] = methods(T, T, Adam(step=0.1))["AmIGO-CG"]
    found["stocBiO-like"] = StocBiO(T, T, 0.5, NEWS_STEP, BATCH)
    options = {"max_passes": 1e6, "record_every": 1.0, "batch_size": BATCH}
    # One step size for all words, as long as their own ones by default.
    shared = {"shared_step": True, "reach": 0.5 * np.sqrt(n_words)}
    for name in ("soba", "saba"):
        solver: Any = ORACLE_SOLVERS.get(name)
        if solver is None:
            print(f"{name} is not registered: left out", file=sys.stderr)
            continue
        found[name.upper()] = replace(solver, **options)
        found[f"{name.upper()}, one step"] = replace(solver, **options, **shared)
    return found


def race(news: News, T: int, budget: float) -> dict[str, tuple[Any, float, float]]:
    """Return lines (seconds, loss, accuracy, passes); both once more at the end.

    The latter are those of an accurate w at the last theta.
    """
    out = {}
    start = news.problem.theta0
    for name, solver in contenders(T, len(start)).items():
        watch: Any = Watch(news, budget)
        found = minimize_bilevel(
            replace(news.problem, outer=watch),
            solver,
            tol=0.0,
            max_iter=10**6,
            on_iter=watch,
            final_tol=None,
        )
        lines = np.array(watch.lines)
        end = accurate(news, found.theta)
        out[name] = lines, *end
        print(name, lines[-1], end, file=sys.stderr, flush=True)
    return out


def accurate(news: News, theta: np.ndarray) -> tuple[float, float]:
    """Return validation loss and test accuracy of an accurate w."""
    if not np.isfinite(theta).all():
        return np.nan, np.nan
    inner, start = news.problem.inner, news.problem.w0
    metric = metric_of(inner, theta, start)
    first = metric_norm(inner.at(theta, start).grad, metric)
    rng = np.random.default_rng(0)
    w = Newton().solve(inner, theta, start, threshold=1e-2 * first, rng=rng).w
    return news.problem.outer.at(theta, w).value, news.accuracy(w)


def draw(gaps: dict[float, dict[str, np.ndarray]], texts: dict[str, Any]) -> Any:
    """Return the figure: gaps against calls, then loss and accuracy against time."""
    figure, axes = new_figure(3, 7.6)
    figure.clear()
    axes = figure.subplots(2, 3).ravel()
    for ax, (kappa, lines) in zip(axes, gaps.items(), strict=False):
        for name, line in lines.items():
            ax.plot(line[:, 0], np.maximum(line[:, 1], 1e-16), label=name, lw=1.6)
        ax.set_yscale("log")
        ax.set_ylim(1e-16, 1e5)
        ax.set_xlabel("oracle calls")
        ax.set_title(f"quadratics, inner conditioning {kappa:g}", fontsize=11)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("F - F*")
    panels = (("validation loss", 1), ("test accuracy", 2))
    for ax, (label, column) in zip(axes[3:], panels, strict=False):
        for name, (lines, *accurate) in texts.items():
            style = "--" if name.startswith(("stoc", "SOBA", "SABA")) else "-"
            (line,) = ax.plot(lines[:, 0], lines[:, column], style, label=name, lw=1.6)
            end = 1.05 * lines[-1, 0]
            ax.plot(end, accurate[column - 1], "o", ms=5, color=line.get_color())
        ax.set_xlabel("CPU seconds (dots: an accurate w at the last theta)")
        ax.set_title(f"20 Newsgroups: {label}", fontsize=11)
        ax.grid(alpha=0.3)
    handles, labels = axes[3].get_legend_handles_labels()
    axes[5].axis("off")
    axes[5].legend(handles, labels, loc="center", fontsize=11)
    return figure


def gap_table(gaps: dict[float, dict[str, np.ndarray]]) -> str:
    """Return the last gaps."""
    kappas = list(gaps)
    names = gaps[kappas[0]]
    rows = [[name, *(float(gaps[k][name][-1, 1]) for k in kappas)] for name in names]
    return markdown(["method", *(f"conditioning {k:g}" for k in kappas)], rows)


def text_table(texts: dict[str, tuple[Any, float, float]]) -> str:
    """Return the ends of the races."""
    rows = [
        [name, *lines[-1, 1:3].tolist(), value, accuracy, float(lines[-1, 3])]
        for name, (lines, value, accuracy) in texts.items()
    ]
    header = ["method", "validation loss", "test accuracy", "loss, accurate w"]
    return markdown([*header, "accuracy, accurate w", "passes"], rows)


def main() -> None:
    """Run, and write the page and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, no files")
    parser.add_argument("--out", type=Path, default=DOC, help="folder of the pages")
    parser.add_argument("--min-df", type=int, default=5, help="documents of a word")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a method")
    args = parser.parse_args()
    sizes = (60, 30) if args.quick else (2000, 1000)
    budget = 300.0 if args.quick else 8000.0
    long = quadratics(10, KAPPAS, sizes, budget)
    short = quadratics(1, KAPPAS, sizes, budget / 2)
    if args.quick:
        # The text is left out where the data are not at hand.
        known = "SKBILEVEL_DATA" in os.environ
        news, seconds = load_news(500, 200) if known else None, 0.02
    else:
        news, seconds = load_news(args.min_df), args.seconds
    parts = ["# AmIGO", str(__doc__).split("\n\n", 2)[2]]
    parts.append(f"## Quadratics: F - F* after {budget:g} calls, T = N = 10")
    parts.append(gap_table(long))
    parts.append(f"## The same after {budget / 2:g} calls, T = N = 1")
    parts.append(gap_table(short))
    texts: Any = {}
    if news is not None:
        texts = race(news, 3, seconds)
        p = len(news.problem.theta0)
        parts.append(f"## 20 Newsgroups: {p:,} words, {seconds:g} CPU seconds each")
        parts.append(text_table(texts))
    text = "\n\n".join(parts)
    print(text)
    if not args.quick:
        write_page(args.out, "amigo", text)
        write_figure(args.out, "amigo", draw(long, texts))


if __name__ == "__main__":
    main()
