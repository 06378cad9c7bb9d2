"""The public interface as text: names and signatures of every public module.

``python tests/api_snapshot.py --write`` rewrites ``public_api.txt`` beside it, which a
test compares with the package. A change of that file is a change for users.
"""

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import skbilevel

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def public_modules() -> list[str]:
    """Names of modules without an underscore that say what they export."""
    found = pkgutil.walk_packages(skbilevel.__path__, "skbilevel.")
    names = [info.name for info in found if "._" not in info.name]
    names = ["skbilevel", *sorted(names)]
    return [n for n in names if hasattr(importlib.import_module(n), "__all__")]


def annotated(name: str, annotation: Any) -> str:
    """The name, and the annotation as it stands in the source."""
    if annotation is inspect.Parameter.empty:
        return name
    if not isinstance(annotation, str):
        annotation = getattr(annotation, "__name__", repr(annotation))
    return f"{name}: {annotation}"


def signature(value: Any) -> str:
    """One line that does not depend on the version of Python."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parts, star = [], False
    for parameter in found.parameters.values():
        text = annotated(parameter.name, parameter.annotation)
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        if parameter.kind is parameter.VAR_POSITIONAL:
            text, star = f"*{text}", True
        if parameter.kind is parameter.VAR_KEYWORD:
            text = f"**{text}"
        if parameter.default is not parameter.empty:
            default = repr(parameter.default)
            text += " = " + (default if " at 0x" not in default else "...")
        parts.append(text)
    return f"({', '.join(parts)})" + returned(found.return_annotation)


def returned(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    return annotated(" ->", annotation).replace(" ->:", " ->")


def members(cls: type) -> Iterator[str]:
    """Public members of a class that this package defines."""
    own = [c for c in cls.__mro__ if c.__module__.startswith("skbilevel")]
    names = {name for c in own for name in vars(c) if not name.startswith("_")}
    fields = {n for c in own for n in getattr(c, "__dataclass_fields__", {})}
    for name in sorted(names - fields):
        raw = inspect.getattr_static(cls, name)
        if name.startswith("set_") and name.endswith("_request"):
            # Older releases of scikit-learn make them for methods that are not there.
            if not hasattr(cls, name[len("set_") : -len("_request")]):
                continue
            asked = list(inspect.signature(getattr(cls, name)).parameters)[1:]
            yield f"    {name}: {', '.join(asked)}"  # made by scikit-learn
        elif isinstance(raw, property | cached_property):
            yield f"    {name}: property"
        elif inspect.isroutine(raw) or callable(getattr(cls, name)):
            yield f"    {name}{signature(getattr(cls, name))}"
        elif not type(raw).__module__.startswith("sklearn"):
            raw = sorted(raw) if isinstance(raw, frozenset) else raw
            yield f"    {name} = {raw!r}"


def entry(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value) and issubclass(value, Enum):
        yield f"enum {name}: {', '.join(value.__members__)}"
    elif inspect.isclass(value) and issubclass(value, Exception):
        yield f"exception {name} of {value.__base__.__name__}"
    elif getattr(value, "_is_protocol", False):
        yield f"protocol {name}"
        yield from members(value)
    elif inspect.isclass(value):
        yield f"class {name}{signature(value).removesuffix(' -> None')}"
        yield from members(value)
    elif callable(value):
        yield f"{name}{signature(value)}"
    elif isinstance(value, dict):
        yield f"{name}: {', '.join(sorted(map(str, value)))}"
    else:
        yield f"{name}: {type(value).__name__}"


def snapshot() -> str:
    """The text; what several modules export is written out once."""
    lines: list[str] = []
    seen: dict[int, str] = {}
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        lines += ["", f"[{module_name}]"]
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                if id(value) in seen:
                    lines.append(f"{name}: see {seen[id(value)]}")
                    continue
                seen[id(value)] = module_name
            lines += entry(name, value)
    return "\n".join(lines).lstrip("\n") + "\n"


def main() -> None:
    """Print the text, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="rewrite public_api.txt")
    if parser.parse_args().write:
        SNAPSHOT.write_text(snapshot(), encoding="utf-8")
    else:
        sys.stdout.write(snapshot())


if __name__ == "__main__":
    main()
