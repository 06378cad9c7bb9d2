"""Values: what goes from one function to the next, under names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass whose fields nobody sets again, which type checkers watch over.

    A frozen dataclass that compares and shows itself takes four times as long to make,
    and there are hundreds of them. Most hold arrays, which neither compare nor hash.
    """
    return dataclass(eq=False, repr=False)(cls)
