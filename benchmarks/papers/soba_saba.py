"""SOBA, SABA and stochastic AmIGO next to AmIGO on all rows.

    python benchmarks/papers/soba_saba.py
    python benchmarks/papers/soba_saba.py --quick
    python benchmarks/papers/soba_saba.py --seeds 10 --store results.json

Protocol. (1) ijcnn1, 49,990 training and 91,701 validation rows, no intercept: mean
logistic losses, penalty ``0.5 sum_j exp(t_j) w_j^2``, ``|t_j| <= 12``, start at t = 0.
(2) Quadratics with 32,768 inner and 1,024 outer rows, 100 inner and 10 outer
variables, mu = 0.1, as rows of rank one, so that they fit in memory. Shown is
``(F(theta) - F*) / (F(start) - F*)`` with exact F at the theta of the solver, on a grid
of passes that grows by a fifth; F* is that of "newton" to 1e-9, or in closed form.
Medians over five seeds by default, not ten as in the paper, for the sake of time (one
for solvers without randomness, and for "SABA, one gamma"). No step size is tuned: all
solvers have their own rules and defaults.
(3) Hyper-cleaning on MNIST: 20,000 training rows, of which a share of 0.5 or 0.9 has a
random label, 5,000 trusted rows, 10,000 test rows, one weight per training row, penalty
0.2 |w|^2, one seed.

A pass is one reading of all rows of both levels. SABA and SOBA on linear models read
the rows of a batch once for w and q together; on oracles of a user, a gradient, a
Hessian product and a cross product are three readings.

Agrees with the paper: SABA converges linearly, far below 1e-6, on (1) and (2); SOBA and
AmIGO on batches do not get below 1e-2 in the same passes; SABA needs a small share of
the passes of AmIGO-CG on ijcnn1.

Does not agree: the paper tunes one step size for all components of theta on a grid.
Here each component has its own, from what it has seen; "SABA, one gamma" shares one, by
the same rule. Gradients in the logarithms of strengths of ijcnn1 differ by powers of
ten: with one step size, SABA is ahead of AmIGO-CG by batches alone, but is still at
4 % when the other is at 1e-10. On the quadratics one step size is the better
choice, and the lead over AmIGO-CG is a factor of 3.0 in passes, because plain oracles
read inner rows three times per step; with "one gamma" it is a factor of 4.3.

In (3) SABA is smooth and ends where perfect cleaning would end, but no method beats
training on all rows: g is a mean over all rows, so weights below one make the penalty
larger next to the data, and with pixels in [0, 1] it underfits already. The same right
rows in a mean of their own do beat it (see the table). At 0.9 the noisy methods, which
are not done, pass through lower test errors than SABA.

Reference: M. Dagreou, P. Ablin, S. Vaiter, T. Moreau (2022). A framework for bilevel
optimization that enables stochastic and global variance reduction algorithms. NeurIPS.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.extend(str(folder) for folder in Path(__file__).parents[:2])

import _finite_quadratics
import _hyper_cleaning
import _ijcnn1
import numpy as np
from _bilevel_traces import first_below
from _common import DOC, markdown, new_figure, write_figure, write_page

NAME = "soba_saba"
LEVELS = (1e-2, 1e-4, 1e-6)
SHARES = (0.5, 0.9)


def measure(quick: bool, seeds: int, store: Path | None) -> dict[str, Any]:
    """Return the results of all parts; those in a store are not run again."""
    sizes = (400, 100, 500) if quick else (20_000, 5_000, 10_000)
    passes = 10.0 if quick else 140.0
    parts = {
        "ijcnn1": lambda: _ijcnn1.run(seeds, passes, 200 if quick else None),
        "quadratics": lambda: _finite_quadratics.run(
            seeds, 40.0 if quick else 150.0, 2048 if quick else 32_768
        ),
    }
    for share in SHARES:
        parts[f"cleaning {share}"] = lambda share=share: _hyper_cleaning.run(
            share, 40.0 if quick else 240.0, sizes, 1
        )
    found: dict[str, Any] = {}
    if store is not None and store.exists():
        found = json.loads(store.read_text())
    for name, part in parts.items():
        if name not in found:
            found[name] = part()
            if store is not None:
                store.write_text(json.dumps(found))
    return found


def gap_table(runs: dict[str, Any]) -> str:
    """Return passes to three levels, the last gap, and seconds to the second one."""
    header = ["solver", *(f"passes to {level:g}" for level in LEVELS)]
    header += ["last gap", "at pass", "seconds to 0.0001", "seeds"]
    rows = [
        [
            name,
            *(first_below(run, level) for level in LEVELS),
            run["gap"][-1],
            run["passes"][-1],
            first_below(run, LEVELS[1], "seconds"),
            run["seeds"],
        ]
        for name, run in runs.items()
    ]
    return markdown(header, rows)


def cleaning_table(found: dict[str, Any]) -> str:
    """Return test errors."""
    rows = []
    for name in found[f"cleaning {SHARES[0]}"]:
        row: list[Any] = [name]
        for share in SHARES:
            each = found[f"cleaning {share}"][name]
            if isinstance(each, float):
                row += [each, each, "-"]
            else:
                row += [each["error"][-1], min(each["error"]), each["seconds"][-1]]
        rows.append(row)
    header = ["trained on, or by"]
    for share in SHARES:
        header += [f"test error, {share}", "lowest", "seconds"]
    return markdown(header, rows)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Write the picture."""
    figure, _ = new_figure()
    figure.clear()
    figure.set_size_inches(7.6, 6.0)
    axes = figure.subplots(2, 2).ravel()
    for ax, (part, x) in zip(
        axes[:3],
        [("ijcnn1", "passes"), ("ijcnn1", "seconds"), ("quadratics", "passes")],
        strict=True,
    ):
        for name, run in found[part]["runs"].items():
            style = "-" if name.startswith("SABA") else "--"
            ax.loglog(run[x], run["gap"], style, label=name)
        ax.set(xlabel=x, ylim=(1e-12, 5), title=part)
        ax.set_ylabel("(F - F*) / (F(start) - F*)")
    axes[0].legend(fontsize=7, loc="lower left")
    ax = axes[3]
    for color, share in zip(("C0", "C3"), SHARES, strict=True):
        part = found[f"cleaning {share}"]
        for name, style in (("SABA", "-"), ("SOBA", "--"), ("AmigoSGD", ":")):
            run = part[name]
            ax.plot(
                run["seconds"],
                run["error"],
                style,
                color=color,
                label=f"{name}, {share}",
            )
        ax.axhline(part["corrupted rows"], color=color, lw=0.7)
    ax.axhline(part["trusted rows"], color="gray", lw=0.7)
    ax.set(xlabel="seconds", ylabel="test error", title="hyper-cleaning", yscale="log")
    ax.legend(fontsize=7)
    write_figure(folder, NAME, figure)


def lead(runs: dict[str, Any]) -> str:
    """Return passes of SABA over those of AmIGO-CG to the second level, in words."""
    mine, other = (first_below(runs[name], LEVELS[1]) for name in ("SABA", "AmIGO-CG"))
    if not np.isfinite(mine):
        return "SABA did not get there"
    if np.isfinite(other):
        return f"{mine / other:.3f}"
    last = runs["AmIGO-CG"]["passes"][-1]
    return f"below {mine / last:.3f}, as AmIGO-CG did not get there in {last:.0f}"


def page(found: dict[str, Any]) -> str:
    """Return the generated page."""
    text = {part: lead(found[part]["runs"]) for part in ("ijcnn1", "quadratics")}
    return f"""# SOBA and SABA

Made by `benchmarks/papers/{NAME}.py`; its docstring states the protocol.

![Gaps against passes and seconds](../_static/papers/{NAME}.png)

## ijcnn1

F(start) is {found["ijcnn1"]["start"]:.6f}, F* is {found["ijcnn1"]["best"]:.6f}.

{gap_table(found["ijcnn1"]["runs"])}

Passes of SABA over passes of AmIGO-CG to 1e-4 (target: at most 0.2): {text["ijcnn1"]}.
AmIGO-CG and "SABA, one gamma" share one step size among all components of theta, with
the same rule: between these two, only the batches differ. "AmIGO-CG, L-BFGS-B" gives
AmIGO a quasi-Newton method outside.

## Quadratics

{gap_table(found["quadratics"]["runs"])}

Passes of SABA over passes of AmIGO-CG to 1e-4: {text["quadratics"]}. These are plain
oracles, so a step of SABA reads its inner rows three times.

## Hyper-cleaning

{cleaning_table(found)}

The shares in the header are those of random labels. "Weights 1 and 0, known" is a mean
over all training rows in which rows with wrong labels weigh nothing: what perfect
cleaning gives. "Rows with right labels" is the mean over these rows alone, next to
which the penalty is smaller. Thin lines of the picture: training on all rows as they
are (in the color of the share) and on trusted rows only (gray).
"""


def main() -> None:
    """Measure, and write the page and the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, no files")
    parser.add_argument("--out", type=Path, default=DOC, help="folder of the pages")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, help="JSON file to go on from")
    args = parser.parse_args()
    found = measure(args.quick, 1 if args.quick else args.seeds, args.store)
    print(page(found))
    if not args.quick:
        write_page(args.out, NAME, page(found))
        draw(found, args.out)


if __name__ == "__main__":
    main()
