"""Packages whose names are loaded when they are first used."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pkgutil import get_data
from sys import modules
from typing import Any

_LINE = re.compile(r"^from (\S+) import (?:\(\s+)?(\w+) as \2\b", re.MULTILINE)


def attach(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], Any]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Beside ``__init__.py`` lies a stub, which type checkers read in place of it:
    ``from home import name as name`` for each name. A package of the package is a name
    whose home is the package.
    """
    stub = (get_data(package, "__init__.pyi") or b"").decode()
    homes = {name: home for home, name in _LINE.findall(stub)}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] == package:
            return import_module(f"{package}.{name}")
        value = getattr(import_module(homes[name]), name)
        setattr(modules[package], name, value)
        return value

    names = sorted(name for name, home in homes.items() if home != package)
    return get, lambda: sorted({*vars(modules[package]), *homes}), names
