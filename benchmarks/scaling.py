"""How do time and memory grow with rows, columns, groups and density?

Every point is a fit in a process of its own: CPU seconds of one thread, then
the peak of memory beyond X in a second fit. The last column of a sweep is the
slope of the time in the log-log picture between a point and the one before.

    python benchmarks/scaling.py --plot scaling.png
    python benchmarks/scaling.py --sweeps rows,groups --size small
    python benchmarks/scaling.py --sweeps text

Sweeps: rows, columns, groups, density, oracle (what each solver asks of the
data, counted instead of timed), text (tf-idf of 20 Newsgroups with the
log length of a document as target; needs SKBILEVEL_DATA).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _oracle_counts import HEADER as ORACLE_HEADER
from _oracle_counts import run_oracle_counts
from _report import add_output_options, new_figure, save_figure, table, write_json

MEGA = 2.0**20
HEADER = ("point", "method", "n", "p", "cpu s", "peak MiB", "X MiB", "n_iter", "slope")


@dataclass(frozen=True)
class Sweep:
    """What varies, and who runs on every point."""

    axis: str
    points: dict[float, Any]
    methods: dict[str, dict[str, Any]]
    # The parameters of a method may depend on the point.
    varying: dict[float, dict[str, Any]] = field(default_factory=dict)


def sweeps(size: str) -> dict[str, Sweep]:
    """Return the sweeps by name; the small size is a matter of a minute."""
    cut = slice(None, 3) if size == "small" else slice(None)
    n_rows = (300, 1000, 3000, 10_000, 30_000, 100_000)[cut]
    n_columns = (10, 30, 100, 300, 1000, 3000)[cut]
    n_groups = (2, 8, 32, 128, 500)[cut]
    densities = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)[cut]
    default = {"default": {"method": "ours"}}
    ridge = {"RidgeCV": {"method": "RidgeCV"}}
    groups = {"method": "ours", "params": {"hyperpenalty": None}}
    return {
        "rows": Sweep("rows", {n: (n, 50, 1.0) for n in n_rows}, default | ridge),
        "columns": Sweep(
            "columns", {p: (500, p, 1.0) for p in n_columns}, default | ridge
        ),
        "groups": Sweep(
            "groups",
            dict.fromkeys(n_groups, (2000, 500, 1.0)),
            {"groups": groups},
            {g: {"n_groups": g} for g in n_groups},
        ),
        "density": Sweep(
            "share of entries that are not zero",
            {d: (5000, 2000, d) for d in densities},
            default | {"Ridge, one strength": {"method": "Ridge"}},
        ),
    }


def probe(job: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Run one job in a process of its own; a failure is reported, not hidden."""
    command = [sys.executable, str(Path(__file__).with_name("_probe.py"))]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {timeout:.0f} s"}
    except subprocess.CalledProcessError as error:
        return {"failed": error.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def run_sweep(sweep: Sweep, timeout: float) -> list[dict[str, Any]]:
    """Return one report per point and method."""
    reports = []
    for name, method in sweep.methods.items():
        before: dict[str, Any] = {}
        for point, data in sweep.points.items():
            params = method.get("params", {}) | sweep.varying.get(point, {})
            job = {**method, "data": data, "params": params}
            report = {"point": point, "method": name, **probe(job, timeout)}
            report["slope"] = slope(before, report)
            reports.append(report)
            before = report
            print(report, file=sys.stderr, flush=True)
            if "failed" in report:
                # Larger points take longer still.
                break
    return reports


def slope(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return the exponent of the growth of the time between two points."""
    if "cpu" not in before or "cpu" not in after:
        return float("nan")
    grown = np.log(after["cpu"] / before["cpu"])
    return float(grown / np.log(after["point"] / before["point"]))


def run_text(timeout: float) -> list[dict[str, Any]]:
    """Return one report per method on 20 Newsgroups."""
    methods = {"default": "ours", "Ridge(solver='sparse_cg')": "Ridge"}
    methods["GridSearchCV, 10 strengths"] = "GridSearchCV"
    reports = []
    for name, method in methods.items():
        job = {"method": method, "data": "text", "warm_up": False}
        report = {"point": "news20", "method": name, **probe(job, timeout)}
        if "peak" in report:
            # The promise: three times what holds X and 50 vectors of length p.
            limit = 3 * report["bytes_of_X"] + 50 * 8 * report["p"]
            report["peak / limit"] = report["peak"] / limit
        reports.append(report)
    return reports


def as_rows(reports: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return the lines of the table."""
    rows = []
    for report in reports:
        if "failed" in report:
            empty = [""] * (len(HEADER) - 3)
            rows.append([report["point"], report["method"], "failed", *empty])
            continue
        sizes = [report[key] / MEGA for key in ("peak", "bytes_of_X")]
        counts = [report["n_iter"] or "", report.get("slope", float("nan"))]
        first = [report[key] for key in ("point", "method", "n", "p", "cpu")]
        rows.append([*first, *sizes, *counts])
    return rows


def draw(path: Path, results: dict[str, list[dict]], titles: dict[str, str]) -> None:
    """Draw time (line) and peak memory (dashes) against what varies."""
    figure, axes = new_figure(len(results))
    for axis, (name, reports) in zip(np.ravel(axes), results.items(), strict=True):
        second = axis.twinx()
        for k, method in enumerate(dict.fromkeys(r["method"] for r in reports)):
            known = [r for r in reports if r["method"] == method and "cpu" in r]
            points = [r["point"] for r in known]
            axis.loglog(points, [r["cpu"] for r in known], f"C{k}o-", label=method)
            second.loglog(points, [r["peak"] / MEGA for r in known], f"C{k}:")
        axis.set(xlabel=titles[name], ylabel="CPU seconds", title=name)
        second.set_ylabel("peak MiB beyond X (dotted)")
        for one in (axis, second):
            # A decade at least: what does not vary should look as if it did not.
            low, high = one.get_ylim()
            middle = np.sqrt(low * high)
            one.set_ylim(min(low, middle / 3.2), max(high, middle * 3.2))
            one.minorticks_off()
        axis.legend()
    save_figure(figure, path)


def parse_args() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", help="names, separated by commas (default: all)")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds per point")
    add_output_options(parser)
    return parser.parse_args()


def run_one(name: str, args: argparse.Namespace, known: dict[str, Sweep]):
    """Run one sweep and print its table."""
    if name == "oracle":
        reports = run_oracle_counts(args.size)
        rows = [list(report.values()) for report in reports]
        print(f"\noracle counts\n{table(ORACLE_HEADER, rows)}", flush=True)
        return reports
    if name == "text":
        reports = run_text(args.timeout)
    else:
        reports = run_sweep(known[name], args.timeout)
    print(f"\n{name}\n{table(HEADER, as_rows(reports))}", flush=True)
    for report in reports:
        if "peak / limit" in report:
            ratio = report["peak / limit"]
            print(f"{report['method']}: peak / (3 X + 50 p) = {ratio:.2f}")
        if "failed" in report:
            print(f"{report['method']} at {report['point']}: {report['failed']}")
    return reports


def main() -> None:
    """Run the sweeps."""
    args = parse_args()
    known = sweeps(args.size)
    wanted = args.sweeps.split(",") if args.sweeps else [*known, "oracle", "text"]
    if not args.sweeps and "SKBILEVEL_DATA" not in os.environ:
        print("text left out: SKBILEVEL_DATA is not set", file=sys.stderr)
        wanted.remove("text")
    results = {name: run_one(name, args, known) for name in wanted}
    write_json(args.json, results)
    drawn = {name: reports for name, reports in results.items() if name in known}
    if args.plot and drawn:
        draw(args.plot, drawn, {name: known[name].axis for name in drawn})


if __name__ == "__main__":
    main()
