"""Versions of everything that a report of a problem should name."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from threadpoolctl import threadpool_info

_REQUIRED = ("scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl")
_OPTIONAL = ("matplotlib", "pandas", "polars", "skops")


def show_versions() -> None:
    """Print versions of Python, the packages and the thread pools.

    Paste it into a report of a problem.

    Examples
    --------
    >>> from skbilevel import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    <BLANKLINE>
    System:
        python: 3...
    """
    # Pools are known once the libraries that own them are loaded.
    import sklearn.utils  # noqa: F401

    import skbilevel

    system = {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    }
    packages = {"skbilevel": skbilevel.__version__}
    packages |= {name: _version(name) for name in _REQUIRED + _OPTIONAL}
    _print("System", system)
    _print("Packages", packages)
    for pool in threadpool_info():
        _print("Threads", {k: str(v) for k, v in pool.items() if k != "filepath"})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _print(title: str, rows: dict[str, str]) -> None:
    print(f"\n{title}:")
    for name, value in rows.items():
        print(f"    {name}: {value}")
