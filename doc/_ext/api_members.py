"""Which methods and properties the API reference describes on the page of a class."""

import importlib
import inspect

PUBLIC = (
    "skbilevel",
    "skbilevel.exceptions",
    "skbilevel.problems",
    "skbilevel.solvers",
    "skbilevel.testing",
    "skbilevel.inspection",
    "skbilevel.model_selection",
)


def members_of(cls: type) -> list[str]:
    """Name what this package, not one of its parents elsewhere, gives a class."""
    names = []
    for name in dir(cls):
        owner = next((c for c in cls.__mro__ if name in vars(c)), cls)
        value = inspect.getattr_static(cls, name)
        described = inspect.isroutine(value) or isinstance(value, property)
        ours = owner.__module__.startswith("skbilevel")
        if ours and described and not name.startswith("_") and has_text(value):
            names.append(name)
    return sorted(names, key=lambda name: (name != "fit", name))


def has_text(value: object) -> bool:
    """Tell whether there is something to show."""
    value = getattr(value, "__func__", value)  # of a classmethod
    return bool(getattr(value, "__doc__", None))


def own_members() -> dict[str, list[str]]:
    """Return these names for every public class, by the path it is documented under."""
    found = {}
    for path in PUBLIC:
        module = importlib.import_module(path)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value):
                found[f"{path}.{name}"] = members_of(value)
    return found
