"""Signatures of classes: those of their constructors.

Autodoc would show ``__new__``, which explains mistakes and takes anything.
"""

import inspect
from typing import Any


def of_constructor(
    app: Any, what: str, name: str, obj: Any, options: Any, given: Any, returned: Any
) -> tuple[str, str | None] | None:
    """The parameters of a class, without their types."""
    if what != "class" or not name.startswith("skbilevel"):
        return None
    signature = inspect.signature(obj)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare)), returned


def setup(app: Any) -> dict[str, bool]:
    """Connect it."""
    app.connect("autodoc-process-signature", of_constructor)
    return {"parallel_read_safe": True}
