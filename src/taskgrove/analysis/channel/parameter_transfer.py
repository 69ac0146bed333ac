"""Parameters on their way to the process that runs the analysis.

They cross as plain data, and are validated again on the other side. Classes of nested
parameters (enums, dataclasses, models) are those that the annotations of the parameters' own
class name: data name no class.

An interpreter without pydantic 2, in which an analysis may run, cannot have those classes. There
the analysis gets the values as they are: the executor has validated them.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
import typing
from collections.abc import Sequence
from enum import Enum
from types import SimpleNamespace
from typing import Any

from taskgrove.analysis.plain.form import PlainTypes, from_plain, to_plain
from taskgrove.analysis.plain.types import CLASS_KEY, fields_of, make_object


def send_parameters(parameters: Any) -> tuple[Any, list[memoryview]]:
    """Return the fields as plain data, and the buffers that belong to it.

    Raises:
        AnalysisError: A field holds what cannot be sent; the error names it.
    """
    buffers: list[memoryview] = []
    return to_plain(fields_of(parameters), buffers=buffers), buffers


def receive_parameters(kind: type, plain: Any, buffers: Sequence[memoryview]) -> Any:
    """Return an object of the parameters' class.

    Raises:
        ValueError: The class does not take the fields.
    """
    types = PlainTypes()
    for found in classes_in(kind):
        types.register(found)
    return make_object(kind, from_plain(plain, buffers=buffers, types=types))


def can_validate() -> bool:
    """Return whether this interpreter has pydantic 2, of which classes of parameters are made.

    Before Python 3.10 it cannot read our annotations.
    """
    try:
        return sys.version_info >= (3, 10) and importlib.metadata.version("pydantic").partition(
            "."
        )[0] not in {"0", "1"}
    except importlib.metadata.PackageNotFoundError:
        return False


def unchecked_parameters(plain: Any, buffers: Sequence[memoryview]) -> SimpleNamespace:
    """Return parameters whose fields are attributes, nested ones too.

    An object of an enum is its value there.
    """
    return SimpleNamespace(
        **{key: _as_attributes(item) for key, item in from_plain(plain, buffers=buffers).items()}
    )


def _as_attributes(value: Any) -> Any:
    if type(value) in {list, tuple}:
        return type(value)(map(_as_attributes, value))
    if not isinstance(value, dict):
        return value
    named = {key: _as_attributes(item) for key, item in value.items() if key != CLASS_KEY}
    return SimpleNamespace(**named) if CLASS_KEY in value else named


def classes_in(kind: type) -> set[type]:
    """Return the classes with fields, and the enums, that a class' annotations name."""
    found: set[type] = set()
    _collect(kind, found)
    found.discard(kind)
    return found


def _collect(annotation: Any, found: set[type]) -> None:
    for part in typing.get_args(annotation):
        _collect(part, found)
    if not isinstance(annotation, type) or annotation in found:
        return
    if issubclass(annotation, Enum):
        found.add(annotation)
        return
    model_fields = getattr(annotation, "__pydantic_fields__", None)
    if model_fields is not None:
        found.add(annotation)
        for field in model_fields.values():
            _collect(field.annotation, found)
    elif dataclasses.is_dataclass(annotation):
        found.add(annotation)
        for hint in typing.get_type_hints(annotation).values():
            _collect(hint, found)
