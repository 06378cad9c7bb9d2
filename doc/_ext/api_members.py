"""Which methods and properties the API reference describes on the page of a class."""

import importlib
import inspect
import pkgutil

import skbilevel


def members_of(cls: type) -> list[str]:
    """Name what this package, not one of its parents elsewhere, gives a class."""
    names = []
    for name in dir(cls):
        owner = next((c for c in cls.__mro__ if name in vars(c)), cls)
        value = inspect.getattr_static(cls, name)
        described = inspect.isroutine(value) or isinstance(value, property)
        ours = owner.__module__.startswith("skbilevel")
        # Requests of metadata routing are scikit-learn's, and described there.
        hidden = name.startswith("_") or name.endswith("_request")
        if ours and described and not hidden and has_text(value):
            names.append(name)
    return sorted(names, key=lambda name: (name != "fit", name))


def has_text(value: object) -> bool:
    """Tell whether there is something to show."""
    value = getattr(value, "__func__", value)  # of a classmethod
    return bool(getattr(value, "__doc__", None))


def own_members() -> dict[str, list[str]]:
    """Return these names for every public class, by the path it is documented under."""
    found = {}
    parts = [info.name for info in pkgutil.iter_modules(skbilevel.__path__)]
    public = [f"skbilevel.{name}" for name in parts if not name.startswith("_")]
    for path in ["skbilevel", *public]:
        module = importlib.import_module(path)
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            if inspect.isclass(value):
                found[f"{path}.{name}"] = members_of(value)
    return found
